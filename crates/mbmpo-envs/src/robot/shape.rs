//! Converts a geom of MJCF to [`Shape`] and its mass properties.

use super::Shape;
use super::attributes::{MINIMUM, refusal};
use mbmpo_core::Result;
use mjcf_rs::body::{Geom, GeomType};
use mjcf_rs::glam::{DQuat, DVec3};
use rapier3d_f64::prelude::{MassProperties, Pose, Vector};
use roxmltree::Node;

/// MuJoCo's default density \[kg/m³\].
const DENSITY: f64 = 1000.0;

/// Rounding tolerance on the normal of a level plane.
const LEVEL: f64 = 1e-9;

/// The shape of `geom`, whose element is `node`.
pub(super) fn read(geom: &Geom, node: Node) -> Result<Shape> {
    let center = geom.pose.translation.to_array();
    let radius = geom.size[0];
    match geom.type_ {
        GeomType::Capsule => {
            let [a, b] = ends(geom, node)?;
            Ok(Shape::Capsule { a, b, radius })
        }
        GeomType::Cylinder => {
            let [a, b] = ends(geom, node)?;
            Ok(Shape::Cylinder { a, b, radius })
        }
        _ if geom.fromto.is_some() => Err(refusal(node, "`fromto` is for capsules and cylinders")),
        GeomType::Sphere => {
            check_lengths(geom, node, 1)?;
            Ok(Shape::Sphere { center, radius })
        }
        GeomType::Box => {
            check_lengths(geom, node, 3)?;
            Ok(Shape::Box {
                center,
                orientation: wxyz(geom.pose.rotation),
                half: geom.size,
            })
        }
        GeomType::Plane => {
            let normal = geom.pose.rotation * DVec3::Z;
            if normal.distance(DVec3::Z) > LEVEL {
                return Err(refusal(node, "a plane must be level"));
            }
            Ok(Shape::Floor { height: center[2] })
        }
        other => Err(refusal(node, &format!("type {other:?} is not supported"))),
    }
}

/// A quaternion in the order of MuJoCo and of this crate.
pub(super) fn wxyz(rotation: DQuat) -> [f64; 4] {
    [rotation.w, rotation.x, rotation.y, rotation.z]
}

/// Ends of the segment of a capsule, or of the axis of a cylinder.
fn ends(geom: &Geom, node: Node) -> Result<[[f64; 3]; 2]> {
    let [a, b] = match geom.fromto {
        Some([ax, ay, az, bx, by, bz]) => {
            check_lengths(geom, node, 1)?;
            [DVec3::new(ax, ay, az), DVec3::new(bx, by, bz)]
        }
        None => {
            check_lengths(geom, node, 2)?;
            let half = geom.pose.rotation * DVec3::Z * geom.size[1];
            let center = geom.pose.translation;
            [center - half, center + half]
        }
    };
    if a.distance(b) < MINIMUM {
        return Err(refusal(node, "the two ends are the same point"));
    }
    Ok([a.to_array(), b.to_array()])
}

fn check_lengths(geom: &Geom, node: Node, count: usize) -> Result<()> {
    if geom.size[..count].iter().all(|&length| length > 0.0) {
        return Ok(());
    }
    let what = format!("`size`: needs {count} numbers above 0");
    Err(refusal(node, &what))
}

/// Turns a capsule or cylinder along y, the library's axis, into one from `a` to `b`.
///
/// The principal axes are those of MuJoCo's geom: two moments are equal, so any rotation about the
/// axis has the same inertia, but the fluid forces act on the box with these axes.
fn lay_down(upright: MassProperties, geom: &Geom, a: DVec3, b: DVec3) -> MassProperties {
    let rotation = match geom.fromto {
        Some(_) => DQuat::from_rotation_arc(DVec3::Z, (a - b).normalize()),
        None => geom.pose.rotation,
    };
    let moments = upright.principal_inertia();
    let moments = Vector::new(moments.x, moments.x, moments.y);
    MassProperties::with_principal_inertia_frame(a.midpoint(b), upright.mass(), moments, rotation)
}

/// Mass properties of `geom`, which has `shape`; those of a floor are 0.
pub(super) fn mass_properties(geom: &Geom, shape: &Shape) -> MassProperties {
    let density = match geom.mass {
        Some(_) => DENSITY,
        None => geom.density.unwrap_or(DENSITY),
    };
    let mut properties = match *shape {
        Shape::Capsule { a, b, radius } => {
            let half = Vector::Y * (DVec3::from(a).distance(b.into()) / 2.0);
            let upright = MassProperties::from_capsule(density, -half, half, radius);
            lay_down(upright, geom, a.into(), b.into())
        }
        Shape::Sphere { center, radius } => MassProperties::from_ball(density, radius)
            .transform_by(&Pose::from_parts(center.into(), geom.pose.rotation)),
        Shape::Box {
            center,
            orientation: [w, x, y, z],
            half,
        } => MassProperties::from_cuboid(density, half.into()).transform_by(&Pose::from_parts(
            center.into(),
            DQuat::from_xyzw(x, y, z, w),
        )),
        Shape::Cylinder { a, b, radius } => {
            let half = DVec3::from(a).distance(b.into()) / 2.0;
            let upright = MassProperties::from_cylinder(density, half, radius);
            lay_down(upright, geom, a.into(), b.into())
        }
        Shape::Floor { .. } => MassProperties::default(),
    };
    if let Some(mass) = geom.mass {
        properties.set_mass(mass, true);
    }
    properties
}
