//! MuJoCo's fluid forces, which act on every body as on the box with its inertia.

use super::Vector;
use crate::robot::Medium;
use rapier3d_f64::prelude::MassProperties;
use std::f64::consts::PI;

/// A box with a body's mass and principal moments of inertia.
#[derive(Debug, Clone, Copy)]
pub(super) struct Drag {
    /// Lengths of the edges \[m\].
    edges: Vector,
}

impl Drag {
    pub fn new(mass_properties: &MassProperties) -> Self {
        let inertia = mass_properties.principal_inertia();
        let edge =
            |a: f64, b: f64, c: f64| (6.0 * (a + b - c) / mass_properties.mass()).max(0.0).sqrt();
        Self {
            edges: Vector::new(
                edge(inertia.y, inertia.z, inertia.x),
                edge(inertia.x, inertia.z, inertia.y),
                edge(inertia.x, inertia.y, inertia.z),
            ),
        }
    }

    /// Force and torque on a box with these velocities, all in the box's frame.
    pub fn force(&self, medium: &Medium, linear: Vector, angular: Vector) -> (Vector, Vector) {
        let Medium { density, viscosity } = *medium;
        let Vector { x, y, z } = self.edges;
        // Stokes drag of a sphere with the mean diameter
        let diameter = (x + y + z) / 3.0;
        let viscous = -3.0 * PI * diameter * viscosity * linear;
        let viscous_torque = -PI * diameter.powi(3) * viscosity * angular;
        // pressure drag on the box's faces
        let area = Vector::new(y * z, x * z, x * y);
        let pressure = -0.5 * density * area * linear.abs() * linear;
        let power = |a: f64, b: f64, c: f64| a * (b.powi(4) + c.powi(4));
        let lever = Vector::new(power(x, y, z), power(y, x, z), power(z, x, y));
        let pressure_torque = -density / 64.0 * lever * angular.abs() * angular;
        (viscous + pressure, viscous_torque + pressure_torque)
    }
}
