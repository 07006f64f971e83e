//! Model-based meta-policy optimisation: imagination, adaptation and the meta-update.
