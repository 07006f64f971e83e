//! Locomotion environments on the Rapier physics engine.
