use super::view::View;
use super::{Frame, pose};
use crate::robot::{RobotDescription, Shape};
use rapier3d_f64::math::{Pose, Rotation, Vector};

/// Bound on the distance from the origin \[m\] of what is drawn, so that differences and scales
/// stay finite.
const FARTHEST: f64 = 1e6;

/// The limbs of a robot: the branches at the first fork of its tree.
pub(super) struct Limbs {
    /// Limb of every body; `None` is the trunk.
    of_body: Vec<Option<usize>>,
    count: usize,
}

impl Limbs {
    pub(super) fn of(robot: &RobotDescription) -> Self {
        let children = |of: Option<usize>| {
            let bodies = robot.bodies.iter().enumerate();
            bodies.filter_map(move |(body, it)| (it.parent == of).then_some(body))
        };
        let mut fork = None;
        while let (Some(child), 1) = (children(fork).next(), children(fork).count()) {
            fork = Some(child);
        }
        let roots: Vec<_> = children(fork).collect();
        let mut of_body: Vec<Option<usize>> = vec![];
        for (body, it) in robot.bodies.iter().enumerate() {
            let inherited = it.parent.and_then(|parent| *of_body.get(parent)?);
            of_body.push(roots.iter().position(|&root| root == body).or(inherited));
        }
        Self {
            of_body,
            count: roots.len(),
        }
    }

    /// Order of painting for parts at equal distance: the first limb is behind the trunk, the
    /// others in front of it.
    fn layer(&self, body: Option<usize>) -> i64 {
        match body.map(|body| self.of_body.get(body).copied().flatten()) {
            None => -2,
            Some(Some(0)) => -1,
            Some(None) => 0,
            Some(Some(limb)) => limb as i64,
        }
    }

    /// Tone from 0 (behind) to 1 (in front).
    fn tone(&self, body: usize) -> f64 {
        match self.of_body.get(body).copied().flatten() {
            Some(limb) if self.count > 1 => limb as f64 / (self.count - 1) as f64,
            _ => 0.5,
        }
    }
}

/// A shape in view coordinates \[m\].
pub(super) enum Form {
    Capsule([[f64; 3]; 2], f64),
    Ball([f64; 3], f64),
    /// The convex hull of points.
    Hull(Vec<[f64; 3]>),
    /// A line of the skeleton.
    Bone([[f64; 3]; 2]),
}

impl Form {
    /// Points and radius: the form lies within the radius of the convex hull of the points.
    pub(super) fn points(&self) -> (&[[f64; 3]], f64) {
        match self {
            Self::Capsule(ends, radius) => (ends, *radius),
            Self::Ball(center, radius) => (std::slice::from_ref(center), *radius),
            Self::Hull(points) => (points, 0.0),
            Self::Bone(ends) => (ends, 0.0),
        }
    }

    fn is_sound(&self) -> bool {
        let (points, radius) = self.points();
        points.iter().flatten().chain([&radius]).all(is_near)
    }
}

pub(super) fn is_near(coordinate: &f64) -> bool {
    // false for a NaN
    coordinate.abs() <= FARTHEST
}

/// A shape to paint.
pub(super) struct PaintedShape {
    pub(super) form: Form,
    pub(super) body: Option<usize>,
    pub(super) layer: i64,
    pub(super) tone: Option<f64>,
}

/// The contents of a frame, in view coordinates \[m\].
pub(super) struct Scene {
    /// From back to front.
    pub(super) parts: Vec<PaintedShape>,
    pub(super) sites: Vec<[f64; 3]>,
    pub(super) markers: Vec<[f64; 3]>,
    /// Floor point at the centre of the frame.
    pub(super) center: [f64; 2],
}

impl Scene {
    pub(super) fn of(robot: &RobotDescription, frame: &Frame, view: &View, limbs: &Limbs) -> Self {
        let poses: Vec<_> = frame.poses.iter().map(|&(p, o)| pose(p, o)).collect();
        let place = |body: Option<usize>, point: [f64; 3]| {
            let at = match body {
                Some(body) => *poses.get(body)?,
                None => Pose::IDENTITY,
            };
            let point = view.turn((at * Vector::from(point)).to_array());
            point.iter().all(is_near).then_some(point)
        };
        let mut forms: Vec<(Option<usize>, Form)> = vec![];
        for geom in &robot.geoms {
            let form = form(geom.shape, |point| place(geom.body, point));
            forms.extend(form.map(|form| (geom.body, form)));
        }
        for (body, [from, to]) in skeleton(robot) {
            let ends = (place(from.0, from.1), place(to.0, to.1));
            if let (Some(start), Some(end)) = ends {
                // another body at the same position represents this one
                if from.0 == to.0 || start != end {
                    forms.push((Some(body), Form::Bone([start, end])));
                }
            }
        }
        let balls: Vec<_> = forms
            .iter()
            .filter_map(|(_, form)| match form {
                Form::Ball(center, radius) => Some((*center, *radius)),
                _ => None,
            })
            .collect();
        let mut parts: Vec<_> = forms
            .into_iter()
            .filter(|(_, form)| form.is_sound())
            .map(|(body, mut form)| {
                if let Form::Capsule(ends, radius) = &mut form {
                    balls.iter().for_each(|&ball| emerge(ends, *radius, ball));
                }
                PaintedShape {
                    form,
                    body,
                    layer: limbs.layer(body),
                    tone: body.map(|body| limbs.tone(body)),
                }
            })
            .collect();
        let nearness = |part: &PaintedShape| {
            let (points, _) = part.form.points();
            let sum: f64 = points.iter().map(|&point| view.nearness(point)).sum();
            sum / points.len().max(1) as f64
        };
        if view.oblique() {
            let depths: Vec<_> = parts.iter().map(nearness).collect();
            let low = depths.iter().copied().fold(f64::INFINITY, f64::min);
            let high = depths.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            for (part, depth) in parts.iter_mut().zip(depths) {
                // all parts of a flat robot are far
                let tone = (depth - low) / (high - low).max(1e-9);
                part.tone = part.tone.map(|_| tone);
            }
        }
        // rounded, so that rounding errors do not decide which of two legs is in front
        parts.sort_by_key(|part| ((nearness(part) * 1e4).round() as i64, part.layer));
        let sites = robot.sites.iter();
        let markers = frame.markers.iter();
        Self {
            parts,
            sites: sites
                .filter_map(|site| place(site.body, site.position))
                .collect(),
            markers: markers.filter_map(|&point| place(None, point)).collect(),
            center: [0.0; 2],
        }
    }
}

/// The shape with its points mapped by `place`; `None` for floors and where a point has no
/// position.
fn form(shape: Shape, place: impl Fn([f64; 3]) -> Option<[f64; 3]>) -> Option<Form> {
    Some(match shape {
        Shape::Capsule { a, b, radius } => Form::Capsule([place(a)?, place(b)?], radius.max(0.0)),
        Shape::Sphere { center, radius } => Form::Ball(place(center)?, radius.max(0.0)),
        Shape::Box {
            center,
            orientation,
            half,
        } => {
            let frame = pose(center, orientation);
            let corners = (0..8).map(|corner| {
                let side = |axis: usize| half[axis] * (1 - 2 * (corner >> axis & 1)) as f64;
                let corner = Vector::from([side(0), side(1), side(2)]);
                place((frame * corner).to_array())
            });
            Form::Hull(corners.collect::<Option<_>>()?)
        }
        Shape::Cylinder { a, b, radius } => {
            let axis = Vector::from(b) - Vector::from(a);
            let turn = match axis.length() > 0.0 {
                true => Rotation::from_rotation_arc(Vector::Z, axis.normalize()),
                false => Rotation::IDENTITY,
            };
            // points of both rims: few enough for a small file, enough to look round
            let rims = (0..48).map(|point| {
                let angle = f64::from(point / 2) * std::f64::consts::TAU / 24.0;
                let spoke = turn * Vector::from([angle.cos(), angle.sin(), 0.0]);
                let end = if point % 2 == 0 { a } else { b };
                place((Vector::from(end) + spoke * radius).to_array())
            });
            Form::Hull(rims.collect::<Option<_>>()?)
        }
        Shape::Floor { .. } => return None,
    })
}

/// Cuts off the part of a capsule inside a ball that contains one of its ends: painted over the
/// ball, a leg would seem to begin in front of the torso.
fn emerge(ends: &mut [[f64; 3]; 2], radius: f64, (center, ball): ([f64; 3], f64)) {
    let [a, b] = ends.map(Vector::from);
    let center = Vector::from(center);
    // where the contours would meet if the capsule's axis passed through the centre
    let surface = (ball * ball - radius * radius).max(0.0).sqrt();
    let cut = |inside: Vector, outside: Vector| {
        let (from, to) = ((inside - center).length(), (outside - center).length());
        let share = (surface - from) / (to - from);
        let point = inside + (outside - inside) * share;
        (from < surface && to > surface && point.is_finite()).then(|| point.to_array())
    };
    let (first, second) = (cut(a, b), cut(b, a));
    ends[0] = first.unwrap_or(ends[0]);
    ends[1] = second.unwrap_or(ends[1]);
}

/// A point of a body, or of the world.
type Anchor = (Option<usize>, [f64; 3]);

/// Lines for bodies without shapes: from the joint of a body to its children and sites, or else to
/// its centre of mass. Immovable bodies have none.
fn skeleton(robot: &RobotDescription) -> Vec<(usize, [Anchor; 2])> {
    let anchor = |body: usize| {
        let joint = robot.joints.iter().find(|joint| joint.body == body);
        let point = joint.map_or([0.0; 3], |joint| joint.position);
        (Some(body), point)
    };
    let mut moves: Vec<bool> = vec![];
    let mut lines = vec![];
    for (body, it) in robot.bodies.iter().enumerate() {
        let jointed = robot.joints.iter().any(|joint| joint.body == body);
        let carried = it.parent.and_then(|parent| moves.get(parent).copied());
        moves.push(jointed || carried.unwrap_or(false));
        if !moves[body] || robot.geoms.iter().any(|geom| geom.body == Some(body)) {
            continue;
        }
        let bodies = robot.bodies.iter().enumerate();
        let children = bodies.filter(|(_, child)| child.parent == Some(body));
        let sites = robot.sites.iter().filter(|site| site.body == Some(body));
        let mut ends: Vec<Anchor> = children.map(|(child, _)| anchor(child)).collect();
        ends.extend(sites.map(|site| (site.body, site.position)));
        if ends.is_empty() {
            ends.push((Some(body), it.center_of_mass()));
        }
        lines.extend(ends.into_iter().map(|end| (body, [anchor(body), end])));
    }
    lines
}
