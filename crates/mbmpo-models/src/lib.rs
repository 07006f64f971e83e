//! Ensembles of dynamics networks: normalisation, fitting with early stopping, prediction.
