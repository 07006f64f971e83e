//! Presets, the trainer loop, run directories and learning curves for mbmpo.
