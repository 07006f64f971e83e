//! Contacts between geoms: points, normals and friction directions.

use super::Vector;
use super::kinematics::Attachment;
use crate::robot::{RobotDescription, Shape, Softness};
use mbmpo_core::{Error, Result};
use rapier3d_f64::math::Pose;
use rapier3d_f64::parry::query::details::closest_points_segment_segment_with_locations_nD;
use rapier3d_f64::parry::shape::Segment;

/// Least coefficient of friction (MuJoCo's `mjMINMU`).
const MIN_FRICTION: f64 = 1e-5;

/// Most pairs of geoms that can touch: a hundred times those of the robots here. Each may add
/// constraints to every time step.
const MOST_PAIRS: usize = 10_000;

/// A geom for collision detection.
#[derive(Clone)]
struct Collider {
    /// Link that carries it; `None` is the ground.
    link: Option<usize>,
    /// Index of the body that carries it.
    body: Option<usize>,
    /// Axis of a capsule, in the link's frame; both ends are the same for a sphere.
    ends: [Vector; 2],
    radius: f64,
    /// Height of a plane.
    floor: Option<f64>,
}

/// Two geoms that can touch.
#[derive(Clone)]
struct Pair {
    first: usize,
    second: usize,
    margin: f64,
    /// `None` for a contact without friction.
    friction: Option<f64>,
    softness: Softness,
}

/// All geoms and pairs that can touch.
#[derive(Clone)]
pub(super) struct Collisions {
    colliders: Vec<Collider>,
    pairs: Vec<Pair>,
}

/// Two geoms that touch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contact {
    /// Link and body of either geom, `None` is the ground.
    pub links: [Option<usize>; 2],
    pub bodies: [Option<usize>; 2],
    pub point: Vector,
    /// From the first geom to the second.
    pub normal: Vector,
    /// Two friction directions, orthogonal to the normal.
    pub tangents: [Vector; 2],
    /// Margin minus distance \[m\].
    pub violation: f64,
    pub friction: Option<f64>,
    pub softness: Softness,
}

impl Collisions {
    pub fn new(robot: &RobotDescription, attachments: &[Attachment]) -> Result<Self> {
        let mut colliders = vec![];
        let mut geoms = vec![];
        for geom in &robot.geoms {
            let attachment = geom.body.map(|body| attachments[body]);
            let pose = attachment.map_or(Pose::IDENTITY, |attachment| attachment.pose);
            let (ends, radius, floor) = match geom.shape {
                Shape::Capsule { a, b, radius } => ([a, b], radius, None),
                Shape::Sphere { center, radius } => ([center, center], radius, None),
                Shape::Floor { height } => ([[0.0, 0.0, height]; 2], 0.0, Some(height)),
                Shape::Box { .. } | Shape::Cylinder { .. } => continue,
            };
            colliders.push(Collider {
                link: attachment.and_then(|attachment| attachment.link),
                body: geom.body,
                ends: ends.map(|end| pose * Vector::from(end)),
                radius,
                floor,
            });
            geoms.push(geom);
        }
        let parent = |link: Option<usize>| {
            let body = link.and_then(|link| {
                let mut bodies = attachments.iter();
                bodies.position(|attachment| attachment.link == Some(link))
            })?;
            let parent = robot.bodies[body].parent?;
            attachments[parent].link
        };
        let mut pairs = vec![];
        for second in 0..geoms.len() {
            for first in 0..second {
                // the floor comes first, as in MuJoCo
                let (first, second) = if colliders[second].floor.is_some() {
                    (second, first)
                } else {
                    (first, second)
                };
                let (a, b) = (geoms[first], geoms[second]);
                let wanted = a.contact_type & b.affinity != 0 || b.contact_type & a.affinity != 0;
                let (links, floors) = (
                    [colliders[first].link, colliders[second].link],
                    colliders[second].floor.is_some(),
                );
                // parent and child overlap by design
                let family = links[0] == links[1]
                    || links[0].is_some() && links[0] == parent(links[1])
                    || links[1].is_some() && links[1] == parent(links[0]);
                if !wanted || family || floors {
                    continue;
                }
                let mut softness = a.softness.mean(&b.softness);
                softness.keep_stable(robot.time_step);
                pairs.push(Pair {
                    first,
                    second,
                    margin: a.margin + b.margin,
                    friction: (a.has_friction || b.has_friction)
                        .then_some(a.friction.max(b.friction).max(MIN_FRICTION)),
                    softness,
                });
            }
        }
        if pairs.len() > MOST_PAIRS {
            return Err(Error::Description(format!(
                "robot `{}` has {} pairs of geoms that can touch, allowed are at most {MOST_PAIRS}; exclude some with \
                 `contype` and `conaffinity`",
                robot.name,
                pairs.len()
            )));
        }
        Ok(Self { colliders, pairs })
    }

    /// Calls `found` with every contact in this pose of the links.
    pub fn each(&self, pose: impl Fn(usize) -> Pose, mut found: impl FnMut(Contact)) {
        for pair in &self.pairs {
            let (first, second) = (&self.colliders[pair.first], &self.colliders[pair.second]);
            let place = |collider: &Collider| collider.link.map_or(Pose::IDENTITY, &pose);
            let poses = [place(first), place(second)];
            let touch = |point, normal, tangent, distance| Contact {
                links: [first.link, second.link],
                bodies: [first.body, second.body],
                point,
                normal,
                tangents: tangents(normal, tangent),
                violation: pair.margin - distance,
                friction: pair.friction,
                softness: pair.softness,
            };
            let ends = second.ends.map(|end| poses[1] * end);
            if let Some(height) = first.floor {
                let sphere = second.ends[0] == second.ends[1];
                let along = (ends[1] - ends[0]).try_normalize();
                for end in &ends[usize::from(sphere)..] {
                    let distance = end.z - height - second.radius;
                    if distance < pair.margin {
                        let point = *end - (second.radius + 0.5 * distance) * Vector::Z;
                        found(touch(point, Vector::Z, along, distance));
                    }
                }
            } else {
                let others = first.ends.map(|end| poses[0] * end);
                let (from, to) = nearest(others, ends);
                let distance = from.distance(to) - first.radius - second.radius;
                if distance < pair.margin {
                    let across = (others[1] - others[0]).cross(ends[1] - ends[0]);
                    let normal = (to - from).try_normalize();
                    let normal = normal.or_else(|| across.try_normalize());
                    let normal = normal.unwrap_or(Vector::X);
                    let point = from + (first.radius + 0.5 * distance) * normal;
                    found(touch(point, normal, None, distance));
                }
            }
        }
    }
}

/// The points of two segments that are nearest to each other.
fn nearest(first: [Vector; 2], second: [Vector; 2]) -> (Vector, Vector) {
    let (from, to) = closest_points_segment_segment_with_locations_nD(
        (&first[0], &first[1]),
        (&second[0], &second[1]),
    );
    let [first, second] = [first, second].map(|[a, b]| Segment::new(a, b));
    (first.point_at(&from), second.point_at(&to))
}

/// Two unit vectors orthogonal to `normal`, the first one as close to `wish` as possible.
fn tangents(normal: Vector, wish: Option<Vector>) -> [Vector; 2] {
    let default = if normal.y.abs() < 0.5 {
        Vector::Y
    } else {
        Vector::Z
    };
    let wish = wish.unwrap_or(default);
    let first = (wish - normal * normal.dot(wish)).try_normalize();
    let first = first.unwrap_or_else(|| normal.any_orthonormal_vector());
    [first, normal.cross(first)]
}
