//! What a robot is made of, as read from an MJCF file.
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
    /// How MuJoCo would integrate over a time step.
    pub integrator: Integrator,
    /// \[m/s²\]
    pub gravity: [f64; 3],
    /// What the robot moves in.
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

/// A fluid, or none where both are 0.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Medium {
    /// \[kg/m³\]
    pub density: f64,
    /// \[Pa s\]
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

    /// Inertia tensor about the centre of mass, in the body's frame \[kg m²\].
    pub fn inertia(&self) -> [[f64; 3]; 3] {
        self.mass_properties
            .reconstruct_inertia_matrix()
            .to_cols_array_2d()
    }

    /// Makes it heavier by a factor, its inertia with its mass.
    pub(crate) fn scale_mass(&mut self, factor: f64) {
        self.mass_properties.inv_mass /= factor;
        self.mass_properties.inv_principal_inertia /= factor;
    }
}

/// How a joint moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JointKind {
    /// Along its axis.
    Slide,
    /// About its axis.
    Hinge,
    /// Anywhere: position (x, y, z) and unit quaternion (w, x, y, z) in the world. Velocities are linear in the world's
    /// frame and angular in the body's, as MuJoCo has it. Its body is a child of the world and has no other joint.
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

/// What lets a body move relative to its parent.
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
    /// Coordinate in the initial pose (MJCF: `ref`).
    pub reference: f64,
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
    /// Coefficient of sliding friction; the larger of two in contact counts.
    pub friction: f64,
    /// Whether it rubs (MJCF: `condim` 3) or is slippery (1); it is enough that one of two in contact rubs.
    pub rubs: bool,
    /// Distance at which contacts begin to act \[m\]; those of two add up, as in MuJoCo 4.
    pub margin: f64,
    /// How hard contacts are; the mean of two counts.
    pub softness: Softness,
    /// Touches a geom whose `affinity` shares a bit.
    pub contact_type: u32,
    /// See [`Self::contact_type`].
    pub affinity: u32,
}

impl Geom {
    /// Whether it can touch anything.
    pub(crate) fn touches(&self) -> bool {
        self.contact_type != 0 || self.affinity != 0
    }
}

/// Shapes that robots here are made of, in their body's frame.
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
    /// A ball \[m\].
    Sphere {
        /// Its centre.
        center: [f64; 3],
        /// Its radius.
        radius: f64,
    },
    /// A box \[m\]. It has mass and can be seen, and touches nothing.
    Box {
        /// Its centre.
        center: [f64; 3],
        /// Unit quaternion (w, x, y, z).
        orientation: [f64; 4],
        /// Half its edges.
        half: [f64; 3],
    },
    /// A cylinder \[m\]. It has mass and can be seen, and touches nothing.
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
    /// In the body's frame \[m\].
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
    /// Looks (`rgba`, `material`, `group`) may be there and make no difference.
    ///
    /// # Errors
    /// When the document is not valid, or uses something that [`crate::Simulation`] cannot do: every element and
    /// attribute is either honoured or refused, none is dropped.
    pub fn from_mjcf(xml: &str) -> Result<Self> {
        mjcf::parse(xml)
    }

    /// That every index points to something that comes before what it is for: fields can be filled in by hand.
    pub(crate) fn check(&self) -> Result<()> {
        let bodies = self.bodies.len();
        let known = |body: Option<usize>| body.is_none_or(|body| body < bodies);
        let parents = self.bodies.iter().enumerate();
        let driven = |motor: &Actuator| {
            let joint = self.joints.get(motor.joint);
            joint.is_some_and(|joint| joint.kind != JointKind::Free)
        };
        let sound = parents.fold(true, |sound, (i, body)| {
            sound && body.parent.is_none_or(|parent| parent < i)
        }) && self.joints.iter().all(|joint| joint.body < bodies)
            && self.joints.is_sorted_by_key(|joint| joint.body)
            && self.geoms.iter().all(|geom| known(geom.body))
            && self.sites.iter().all(|site| known(site.body))
            && self.actuators.iter().all(driven);
        if sound {
            return Ok(());
        }
        Err(mbmpo_core::Error::Description(format!(
            "robot `{}`: a body's parent, or the body or joint of something, is not there, does not come before it or \
             cannot be driven",
            self.name
        )))
    }

    /// Kind, first component of `qpos` and first component of `qvel` of every joint.
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

    /// `qpos` of the pose that the file describes.
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

    /// \[kg\]
    pub fn total_mass(&self) -> f64 {
        self.bodies.iter().map(Body::mass).sum()
    }
}
