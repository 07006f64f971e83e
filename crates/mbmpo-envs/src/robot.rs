//! What a robot is made of, as read from an MJCF file.
//!
//! Metres, kilograms, seconds, radians. Joints are in the order of the generalised coordinates.

mod attributes;
mod mjcf;
mod softness;

pub use softness::Softness;

use mbmpo_core::Result;
use rapier3d_f64::prelude::MassProperties;

/// A tree of bodies with joints, motors and collision shapes.
#[derive(Debug, Clone)]
pub struct RobotDescription {
    /// The `model` attribute of the file.
    pub name: String,
    /// MuJoCo time step \[s\].
    pub time_step: f64,
    /// \[m/s²\]
    pub gravity: [f64; 3],
    /// Parents come before their children.
    pub bodies: Vec<Body>,
    /// One per degree of freedom, in the order of `qpos` and `qvel`.
    pub joints: Vec<Joint>,
    /// Motors, in the order of the components of an action.
    pub actuators: Vec<Actuator>,
    /// Collision shapes.
    pub geoms: Vec<Geom>,
    /// How hard contacts are.
    pub contact: Softness,
}

/// A rigid link.
#[derive(Debug, Clone)]
pub struct Body {
    /// Its name.
    pub name: String,
    /// Index of the parent body; `None` is the world.
    pub parent: Option<usize>,
    /// Origin in the parent's frame at zero joint angles \[m\]. Its axes are the parent's.
    pub position: [f64; 3],
    pub(crate) mass_properties: MassProperties,
}

impl Body {
    /// \[kg\]
    pub fn mass(&self) -> f64 {
        self.mass_properties.mass()
    }

    /// Centre of mass in the body's frame \[m\].
    pub fn center_of_mass(&self) -> [f64; 3] {
        self.mass_properties.local_com.to_array()
    }

    /// Principal moments of inertia about the centre of mass, largest first \[kg m²\].
    pub fn principal_inertia(&self) -> [f64; 3] {
        let mut inertia = self.mass_properties.principal_inertia().to_array();
        inertia.sort_by(|a, b| b.total_cmp(a));
        inertia
    }
}

/// How a joint moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JointKind {
    /// Along its axis.
    Slide,
    /// About its axis.
    Hinge,
}

/// One degree of freedom between a body and its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// Its name.
    pub name: String,
    /// Index of the body that it moves.
    pub body: usize,
    /// Slide or hinge.
    pub kind: JointKind,
    /// Anchor in the body's frame \[m\].
    pub position: [f64; 3],
    /// 0, 1 or 2: along or about the body's x, y or z.
    pub axis: usize,
    /// Lowest and highest coordinate, where limited.
    pub range: Option<[f64; 2]>,
    /// Spring \[N/m or N m/rad\].
    pub stiffness: f64,
    /// Coordinate at which the spring rests.
    pub spring_rest: f64,
    /// \[N s/m or N m s/rad\]
    pub damping: f64,
    /// Inertia of the rotor, added to the diagonal of the mass matrix \[kg or kg m²\].
    pub armature: f64,
    /// How hard the limits are.
    pub limit: Softness,
}

/// A motor on a joint.
#[derive(Debug, Clone, PartialEq)]
pub struct Actuator {
    /// Index of the joint that it drives.
    pub joint: usize,
    /// Force or torque per unit of control \[N or N m\].
    pub gear: f64,
    /// Lowest and highest control.
    pub control_range: [f64; 2],
}

/// A collision shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Geom {
    /// Index of the body that carries it; `None` is the world.
    pub body: Option<usize>,
    /// Its shape, in the body's frame.
    pub shape: Shape,
    /// Coefficient of sliding friction; the larger of two in contact counts.
    pub friction: f64,
    /// Touches a geom whose `affinity` shares a bit.
    pub contact_type: u32,
    /// See [`Self::contact_type`].
    pub affinity: u32,
}

/// Shapes that robots here are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// All within `radius` of the segment \[m\].
    Capsule {
        /// One end of the segment.
        a: [f64; 3],
        /// The other end.
        b: [f64; 3],
        /// Radius.
        radius: f64,
    },
    /// The half-space below this height \[m\].
    Floor {
        /// Height along z.
        height: f64,
    },
}

impl RobotDescription {
    /// Reads an MJCF document: a subset of MuJoCo's XML format.
    ///
    /// # Errors
    /// When the document is not valid, or uses something that [`crate::Simulation`] cannot do: every element and
    /// attribute is either honoured or refused, none is dropped.
    pub fn from_mjcf(xml: &str) -> Result<Self> {
        mjcf::parse(xml)
    }

    /// Number of degrees of freedom.
    pub fn dofs(&self) -> usize {
        self.joints.len()
    }

    /// \[kg\]
    pub fn total_mass(&self) -> f64 {
        self.bodies.iter().map(Body::mass).sum()
    }
}
