//! Description of a robot, as read from an MJCF file.
//!
//! Metres, kilograms, seconds, radians. Joints are in the order of the generalised coordinates.

mod attributes;
mod mjcf;
mod shape;
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
    /// MuJoCo's integrator.
    pub integrator: Integrator,
    /// Acceleration of gravity \[m/s²\].
    pub gravity: [f64; 3],
    /// The medium that surrounds the robot.
    pub medium: Medium,
    /// Parents come before their children.
    pub bodies: Vec<Body>,
    /// In the order of the generalised coordinates, the joints of a body together.
    pub joints: Vec<Joint>,
    /// Motors, in the order of the components of an action.
    pub actuators: Vec<Actuator>,
    /// Collision shapes.
    pub geoms: Vec<Geom>,
    /// Named points.
    pub sites: Vec<Site>,
}

/// A numerical integrator of MuJoCo's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Integrator {
    /// Semi-implicit Euler: velocities first, then positions; implicit in joint damping.
    #[default]
    Euler,
    /// Classical Runge-Kutta of fourth order.
    RungeKutta4,
}

/// A fluid; vacuum where both values are 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Medium {
    /// Density \[kg/m³\].
    pub density: f64,
    /// Viscosity \[Pa s\].
    pub viscosity: f64,
}

/// A rigid link. One without joints is welded to its parent.
#[derive(Debug, Clone)]
pub struct Body {
    /// Its name.
    pub name: String,
    /// Index of the parent body; `None` is the world.
    pub parent: Option<usize>,
    /// Origin in the parent's frame in the initial pose \[m\].
    pub position: [f64; 3],
    /// Orientation in the parent's frame in the initial pose: unit quaternion (w, x, y, z).
    pub orientation: [f64; 4],
    pub(crate) mass_properties: MassProperties,
}

impl Body {
    /// Mass \[kg\].
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

    /// Inertia tensor about the centre of mass, in the body's frame \[kg m²\].
    pub fn inertia(&self) -> [[f64; 3]; 3] {
        self.mass_properties
            .reconstruct_inertia_matrix()
            .to_cols_array_2d()
    }

    /// Multiplies mass and inertia by a factor.
    pub(crate) fn scale_mass(&mut self, factor: f64) {
        self.mass_properties.inv_mass /= factor;
        self.mass_properties.inv_principal_inertia /= factor;
    }
}

/// Kind of a joint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JointKind {
    /// Translation along its axis.
    Slide,
    /// Rotation about its axis.
    Hinge,
    /// Free motion: position (x, y, z) and unit quaternion (w, x, y, z) in the world. As in MuJoCo,
    /// linear velocities are in the world's frame and angular ones in the body's. The body is a
    /// child of the world and has no other joint.
    Free,
}

impl JointKind {
    /// Components of `qpos`.
    pub fn coordinates(self) -> usize {
        match self {
            Self::Slide | Self::Hinge => 1,
            Self::Free => 7,
        }
    }

    /// Components of `qvel`.
    pub fn dofs(self) -> usize {
        match self {
            Self::Slide | Self::Hinge => 1,
            Self::Free => 6,
        }
    }
}

/// A joint between a body and its parent.
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// Its name.
    pub name: String,
    /// Index of the body that it moves.
    pub body: usize,
    /// Slide, hinge or free.
    pub kind: JointKind,
    /// Anchor in the body's frame \[m\].
    pub position: [f64; 3],
    /// Unit vector in the body's frame.
    pub axis: [f64; 3],
    /// Coordinate in the initial pose (MJCF: `ref`) \[m or rad\].
    pub reference: f64,
    /// Lowest and highest coordinate, where limited.
    pub range: Option<[f64; 2]>,
    /// Stiffness of the spring \[N/m or N m/rad\].
    pub stiffness: f64,
    /// Coordinate at which the spring rests.
    pub spring_rest: f64,
    /// Damping \[N s/m or N m s/rad\].
    pub damping: f64,
    /// Inertia of the rotor, added to the diagonal of the mass matrix \[kg or kg m²\].
    pub armature: f64,
    /// Softness of the limits.
    pub limit: Softness,
}

/// A motor that drives a joint.
#[derive(Debug, Clone, PartialEq)]
pub struct Actuator {
    /// Index of the joint that it drives, a slide or a hinge.
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
    /// Coefficient of sliding friction; in a contact the larger one counts.
    pub friction: f64,
    /// Whether it has friction (MJCF: `condim` 3, not 1); a contact has friction where one of its
    /// geoms has.
    pub has_friction: bool,
    /// Distance at which contacts become active \[m\]; in a contact they add up, as in MuJoCo 4.
    pub margin: f64,
    /// Softness of contacts; in a contact the mean counts.
    pub softness: Softness,
    /// Bit mask (MJCF: `contype`): the geom can touch those whose `affinity` shares a bit.
    pub contact_type: u32,
    /// Bit mask (MJCF: `conaffinity`), see [`Self::contact_type`].
    pub affinity: u32,
}

impl Geom {
    /// Whether it can touch any other geom.
    pub(crate) fn touches(&self) -> bool {
        self.contact_type != 0 || self.affinity != 0
    }
}

/// Shapes of geoms, in the body's frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// The points within `radius` of a segment \[m\].
    Capsule {
        /// One end of the segment.
        a: [f64; 3],
        /// The other end.
        b: [f64; 3],
        /// Radius.
        radius: f64,
    },
    /// A sphere \[m\].
    Sphere {
        /// Its centre.
        center: [f64; 3],
        /// Its radius.
        radius: f64,
    },
    /// A box \[m\]. It has mass and is drawn, but touches nothing.
    Box {
        /// Its centre.
        center: [f64; 3],
        /// Unit quaternion (w, x, y, z).
        orientation: [f64; 4],
        /// Half the edges.
        half: [f64; 3],
    },
    /// A cylinder \[m\]. It has mass and is drawn, but touches nothing.
    Cylinder {
        /// Centre of one face.
        a: [f64; 3],
        /// Centre of the other face.
        b: [f64; 3],
        /// Radius.
        radius: f64,
    },
    /// The half-space below this height \[m\], part of the world.
    Floor {
        /// Height along z.
        height: f64,
    },
}

/// A named point of a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// Index of the body that carries it; `None` is the world.
    pub body: Option<usize>,
    /// Position in the body's frame \[m\].
    pub position: [f64; 3],
}

impl RobotDescription {
    /// Reads an MJCF document: a subset of MuJoCo's XML format.
    ///
    /// | element | honoured |
    /// |---|---|
    /// | `compiler` | `angle`, `autolimits`, `inertiafromgeom`, `settotalmass` |
    /// | `option` | `timestep`, `gravity`, `integrator` (Euler, RK4), `density`, `viscosity` |
    /// | `default` | nested classes, `class`, `childclass`; no poses of geoms |
    /// | `body`, `inertial` | `pos`; `quat`, `axisangle` or `euler`; `mass`, `diaginertia` |
    /// | `joint`, `freejoint` | slide, hinge and free; no friction and no margin; each needs a name |
    /// | `geom` | capsule, sphere and level plane; box and cylinder that touch nothing; `condim` 1 and 3 |
    /// | `site` | `name`, `pos` |
    /// | `motor` | `joint`, `gear`, `ctrlrange` |
    ///
    /// Attributes for rendering (`rgba`, `material`, `group`) are allowed and have no effect.
    ///
    /// # Errors
    /// When the document is not valid, or has an element or attribute that [`crate::Simulation`]
    /// does not support: each is either honoured or refused, none is ignored.
    pub fn from_mjcf(xml: &str) -> Result<Self> {
        mjcf::parse(xml)
    }

    /// Checks that every index is valid and parents come before children: fields can be set by
    /// hand.
    pub(crate) fn require_valid(&self) -> Result<()> {
        let bodies = self.bodies.len();
        let known = |body: Option<usize>| body.is_none_or(|body| body < bodies);
        let parents = self.bodies.iter().enumerate();
        let driven = |motor: &Actuator| {
            let joint = self.joints.get(motor.joint);
            joint.is_some_and(|joint| joint.kind != JointKind::Free)
        };
        let valid = parents.fold(true, |valid, (i, body)| {
            valid && body.parent.is_none_or(|parent| parent < i)
        }) && self.joints.iter().all(|joint| joint.body < bodies)
            && self.joints.is_sorted_by_key(|joint| joint.body)
            && self.geoms.iter().all(|geom| known(geom.body))
            && self.sites.iter().all(|site| known(site.body))
            && self.actuators.iter().all(driven);
        if valid {
            return Ok(());
        }
        Err(mbmpo_core::Error::Description(format!(
            "robot `{}`: the parent of a body, the body of a joint, geom or site, or the joint of a motor does not exist, \
             is out of order or cannot be driven",
            self.name
        )))
    }

    /// Kind, first component of `qpos` and first component of `qvel`, for every joint.
    pub(crate) fn layout(&self) -> impl Iterator<Item = (JointKind, usize, usize)> {
        self.joints.iter().scan((0, 0), |(coordinate, dof), joint| {
            let kind = joint.kind;
            let here = (kind, *coordinate, *dof);
            *coordinate += kind.coordinates();
            *dof += kind.dofs();
            Some(here)
        })
    }

    /// Number of degrees of freedom, the components of `qvel`.
    pub fn dofs(&self) -> usize {
        self.joints.iter().map(|joint| joint.kind.dofs()).sum()
    }

    /// Components of `qpos`.
    pub fn coordinates(&self) -> usize {
        self.joints
            .iter()
            .map(|joint| joint.kind.coordinates())
            .sum()
    }

    /// `qpos` of the pose in the file.
    pub fn initial_positions(&self) -> Vec<f64> {
        let mut positions = vec![];
        for joint in &self.joints {
            match joint.kind {
                JointKind::Slide | JointKind::Hinge => positions.push(joint.reference),
                JointKind::Free => {
                    let body = &self.bodies[joint.body];
                    positions.extend(body.position);
                    positions.extend(body.orientation);
                }
            }
        }
        positions
    }

    /// Total mass \[kg\].
    pub fn total_mass(&self) -> f64 {
        self.bodies.iter().map(Body::mass).sum()
    }
}
