use super::MARGIN;
use super::scene::{Scene, is_near};
use super::view::View;
use crate::robot::{JointKind, RobotDescription, Shape};

/// Longer side of the robot in a portrait and in a frame of a strip \[px\].
const SIZES: [f64; 2] = [400.0, 240.0];
/// Least extent of a robot for the choice of the scale \[m\].
const SMALLEST: f64 = 0.01;

/// The smallest box around points.
#[derive(Clone, Copy)]
struct Bounds<const N: usize> {
    low: [f64; N],
    high: [f64; N],
}

impl<const N: usize> Bounds<N> {
    const EMPTY: Self = Self {
        low: [f64::INFINITY; N],
        high: [f64::NEG_INFINITY; N],
    };

    fn include(&mut self, point: [f64; N], radius: f64) {
        for (axis, &x) in point.iter().enumerate() {
            self.low[axis] = self.low[axis].min(x - radius);
            self.high[axis] = self.high[axis].max(x + radius);
        }
    }

    /// The origin where there are no points.
    fn center(&self) -> [f64; N] {
        std::array::from_fn(|axis| {
            let middle = 0.5 * (self.low[axis] + self.high[axis]);
            if middle.is_finite() { middle } else { 0.0 }
        })
    }
}

/// The floor, or marks without a floor.
pub(super) struct Floor {
    /// Height \[m\].
    pub(super) height: f64,
    /// Whether there is a floor; otherwise only marks are drawn.
    pub(super) solid: bool,
}

/// Scale, view and size, which all frames share.
pub(super) struct Stage {
    pub(super) view: View,
    /// Scale \[px/m\].
    pub(super) scale: f64,
    /// Half the width of a frame \[m\].
    pub(super) half: f64,
    /// Lowest and highest position on the screen \[m\].
    pub(super) vertical: [f64; 2],
    /// Radius of the floor that an oblique view shows \[m\].
    pub(super) radius: f64,
    pub(super) floor: Option<Floor>,
    /// Height below the robot for marks on the floor \[px\].
    pub(super) below: f64,
}

impl Stage {
    pub(super) fn of(robot: &RobotDescription, view: View, scenes: &mut [Scene]) -> Self {
        let follows = can_leave(robot);
        // bounds of the robot in each frame, or of everything in all frames
        let mut around = vec![Bounds::<3>::EMPTY; scenes.len()];
        for (bounds, scene) in around.iter_mut().zip(scenes.iter()) {
            for part in scene
                .parts
                .iter()
                .filter(|part| !follows || part.body.is_some())
            {
                let (points, radius) = part.form.points();
                points
                    .iter()
                    .for_each(|&point| bounds.include(point, radius));
            }
            if !follows {
                let extra = scene.sites.iter().chain(&scene.markers);
                extra.for_each(|&point| bounds.include(point, 0.0));
            }
        }
        if !follows {
            let mut all = Bounds::EMPTY;
            for bounds in &around {
                all.include(bounds.low, 0.0);
                all.include(bounds.high, 0.0);
            }
            around.fill(all);
        }
        let lowest = around
            .iter()
            .map(|bounds| bounds.low[2])
            .fold(f64::INFINITY, f64::min);
        let heights = robot.geoms.iter().filter_map(|geom| match geom.shape {
            Shape::Floor { height } if is_near(&height) => Some(height),
            _ => None,
        });
        let floor = match heights.max_by(f64::total_cmp) {
            Some(height) => Some(Floor {
                height,
                solid: true,
            }),
            None if (follows || view.overhead()) && lowest.is_finite() => Some(Floor {
                height: lowest,
                solid: false,
            }),
            None => None,
        };

        for (scene, bounds) in scenes.iter_mut().zip(&around) {
            let [right, away, _] = bounds.center();
            scene.center = [right, away];
        }
        let mut stage = Self {
            view,
            scale: 1.0,
            half: 0.0,
            vertical: [0.0; 2],
            radius: 0.0,
            floor,
            below: 0.0,
        };
        stage.fit(scenes, follows);
        stage
    }

    /// Chooses the scale and the size of a frame.
    fn fit(&mut self, scenes: &[Scene], follows: bool) {
        let mut screen = Bounds::<2>::EMPTY;
        for scene in scenes {
            let center = scene.center;
            for part in scene
                .parts
                .iter()
                .filter(|part| !follows || part.body.is_some())
            {
                let (points, radius) = part.form.points();
                for &point in points {
                    screen.include(self.on_screen(center, point), radius);
                    let [right, away] = [point[0] - center[0], point[1] - center[1]];
                    self.radius = self.radius.max(right.hypot(away));
                }
            }
            if !follows {
                for &point in scene.sites.iter().chain(&scene.markers) {
                    screen.include(self.on_screen(center, point), 0.0);
                }
            }
        }
        self.radius = (1.15 * self.radius).max(SMALLEST);
        if let Some(floor) = &self.floor {
            let [sin, cos] = self.view.elevation;
            if self.view.oblique() {
                let y = cos * floor.height;
                screen.include([self.radius, y + sin * self.radius], 0.0);
                screen.include([-self.radius, y - sin * self.radius], 0.0);
                self.below = 14.0;
            } else {
                screen.include([0.0, cos * floor.height], 0.0);
                self.below = 24.0 * cos;
            }
        }
        let [x, y] = [0, 1].map(|axis| (screen.low[axis], screen.high[axis]));
        let (low, high) = if y.0 <= y.1 { y } else { (0.0, 0.0) };
        let reach = if x.0 <= x.1 { x.1.max(-x.0) } else { 0.0 };
        let rise = (high - low).max(SMALLEST);
        // narrow robots get some floor on either side, flat ones some space above
        self.half = reach.max(0.35 * rise);
        let missing = (0.8 * self.half - rise).max(0.0);
        self.vertical = match self.floor.as_ref().is_some_and(|floor| floor.solid) {
            true if self.view.sideways() => [low, low + rise + missing],
            _ => [low - 0.5 * missing, low + rise + 0.5 * missing],
        };
        let longest = (2.0 * self.half).max(self.vertical[1] - self.vertical[0]);
        self.scale = SIZES[usize::from(scenes.len() > 1)] / longest;
    }

    /// Width and height of a frame without caption \[px\].
    pub(super) fn size(&self) -> [f64; 2] {
        let [low, high] = self.vertical;
        [
            2.0 * (self.half * self.scale + MARGIN),
            (high - low) * self.scale + 2.0 * MARGIN + self.below,
        ]
    }

    /// Position to the right of and above a frame's centre \[m\].
    fn on_screen(&self, center: [f64; 2], [right, away, up]: [f64; 3]) -> [f64; 2] {
        self.view.project([right - center[0], away - center[1], up])
    }

    /// Position in a frame from its upper left corner \[px\].
    pub(super) fn pixel(&self, center: [f64; 2], point: [f64; 3]) -> [f64; 2] {
        let [right, up] = self.on_screen(center, point);
        [
            MARGIN + (self.half + right) * self.scale,
            MARGIN + (self.vertical[1] - up) * self.scale,
        ]
    }
}

/// Whether a robot can move without bounds.
fn can_leave(robot: &RobotDescription) -> bool {
    robot.joints.iter().any(|joint| {
        let on_its_own = robot
            .bodies
            .get(joint.body)
            .is_some_and(|body| body.parent.is_none());
        let travels = match joint.kind {
            JointKind::Free => true,
            JointKind::Slide => joint.range.is_none(),
            JointKind::Hinge => false,
        };
        on_its_own && travels
    })
}
