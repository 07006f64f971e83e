//! Gaussian policies, linear baseline, generalised advantage estimation and the trust-region step.
