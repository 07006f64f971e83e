//! Draws a scene on its stage as SVG.

use super::scene::{Form, PaintedShape, Scene};
use super::stage::{Floor, Stage};
use super::{GREY, MARGIN};

/// Width of outlines \[px\]: inside the contour of round shapes, outside that of polyhedra.
const OUTLINE: f64 = 1.3;
/// Width of the lines that stand for bodies without shapes \[px\].
const BONE: f64 = 7.0;

// readable on white and on black
const FAR: [f64; 3] = [92.0, 128.0, 168.0];
const NEAR: [f64; 3] = [164.0, 196.0, 226.0];
const INK: &str = "#2f5275";
const SCENERY: &str = "#a9adb3";
const ACCENT: &str = "#e0762f";

/// Drawing of one frame.
impl Stage {
    pub(super) fn draw(&self, scene: &Scene, svg: &mut String) {
        if let Some(floor) = &self.floor {
            self.draw_floor(scene, floor, svg);
        }
        *svg += "<g class=\"robot\">\n";
        // consecutive shapes of one body get a common outline
        for parts in scene.parts.chunk_by(|a, b| a.body == b.body) {
            let shown = parts
                .iter()
                .filter(|part| part.body.is_some() || self.shows(scene, part));
            let (outlines, fills): (Vec<_>, Vec<_>) =
                shown.map(|part| self.draw_part(scene.center, part)).unzip();
            svg.extend(outlines);
            svg.extend(fills);
        }
        *svg += "</g>\n";
        for &site in &scene.sites {
            let [x, y] = self.pixel(scene.center, site);
            *svg += &format!(
                "<path class=\"site\" d=\"M{} {}l8 8m0 -8l-8 8\" stroke=\"{ACCENT}\" stroke-width=\"1.8\"/>\n",
                px(x - 4.0),
                px(y - 4.0),
            );
        }
        let [width, height] = self.size();
        for &marker in &scene.markers {
            let [x, y] = self.pixel(scene.center, marker);
            if (0.0..=width).contains(&x) && (0.0..=height).contains(&y) {
                let [x, y] = [x, y].map(px);
                *svg += &format!(
                    "<circle class=\"marker\" cx=\"{x}\" cy=\"{y}\" r=\"7\" stroke=\"{ACCENT}\" stroke-width=\"2\"/>\n\
                     <circle cx=\"{x}\" cy=\"{y}\" r=\"2.2\" fill=\"{ACCENT}\"/>\n"
                );
            }
        }
    }

    /// Whether a part is entirely within the frame.
    fn shows(&self, scene: &Scene, part: &PaintedShape) -> bool {
        let (points, radius) = part.form.points();
        let radius = radius * self.scale - 1.0;
        let [width, height] = self.size();
        points.iter().all(|&point| {
            let [x, y] = self.pixel(scene.center, point);
            (radius..=width - radius).contains(&x) && (radius..=height - radius).contains(&y)
        })
    }

    /// The outline of a shape, and its fill.
    fn draw_part(&self, center: [f64; 2], part: &PaintedShape) -> (String, String) {
        let fill = part.tone.map_or(SCENERY.to_string(), color);
        let ink = if part.tone.is_some() { INK } else { GREY };
        let at = |point: [f64; 3]| self.pixel(center, point);
        let line = |ends: &[[f64; 3]; 2], width: f64| {
            let line = |color: &str, width: f64| {
                let (path, width) = (polyline(&ends.map(at)), px(width));
                format!("<path d=\"{path}\" stroke=\"{color}\" stroke-width=\"{width}\"/>\n")
            };
            let inner = (width - 2.0 * OUTLINE).max(0.2);
            (line(ink, width.max(1.0)), line(&fill, inner))
        };
        match &part.form {
            Form::Capsule(ends, radius) => line(ends, 2.0 * radius * self.scale),
            Form::Bone(ends) => line(ends, BONE),
            Form::Ball(middle, radius) => {
                let ([x, y], radius) = (at(*middle).map(px), radius * self.scale);
                let disc = |color: &str, radius: f64| {
                    let radius = px(radius);
                    format!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{radius}\" fill=\"{color}\"/>\n")
                };
                let inner = (radius - OUTLINE).max(0.1);
                (disc(ink, radius.max(0.5)), disc(&fill, inner))
            }
            Form::Hull(points) => {
                let path = polyline(&hull(points.iter().copied().map(at).collect()));
                // the fill covers the inner half of the outline
                let width = px(2.0 * OUTLINE);
                (
                    format!("<path d=\"{path}Z\" stroke=\"{ink}\" stroke-width=\"{width}\"/>\n"),
                    format!("<path d=\"{path}Z\" fill=\"{fill}\"/>\n"),
                )
            }
        }
    }

    fn draw_floor(&self, scene: &Scene, floor: &Floor, svg: &mut String) {
        *svg += "<g class=\"floor\">\n";
        if self.view.sideways() {
            self.draw_line(scene.center, floor, svg);
        } else {
            self.draw_grid(scene, floor, svg);
        }
        *svg += "</g>\n";
    }

    /// A floor seen from the side: hatched, with ticks at whole metres.
    fn draw_line(&self, center: [f64; 2], floor: &Floor, svg: &mut String) {
        let (left, right) = (center[0] - self.half, center[0] + self.half);
        let at = |x: f64| self.pixel(center, [x, 0.0, floor.height]);
        let step = step(right - left);
        let [mut hatch, mut ticks, mut labels] = [const { String::new() }; 3];
        if 0.1 * step * self.scale >= 4.0 {
            for x in multiples(0.1 * step, left, right) {
                let [x, y] = at(x).map(px);
                hatch += &format!("M{x} {y}l-4 5");
            }
        }
        for metres in multiples(step, left, right) {
            let [x, y] = at(metres);
            let inside = x > 0.5 * MARGIN && x < self.size()[0] - 0.5 * MARGIN;
            ticks += &format!("M{} {}v8", px(x), px(y));
            if inside {
                labels += &label(x, y + 20.0, metres);
            }
        }
        if floor.solid {
            ticks += &polyline(&[at(left), at(right)]);
        }
        *svg += &format!(
            "<path d=\"{hatch}\" stroke=\"{GREY}\" stroke-width=\".7\"/>\n\
             <path class=\"metres\" d=\"{ticks}\" stroke=\"{GREY}\" stroke-width=\"1.4\"/>\n{labels}"
        );
    }

    /// A floor seen from above or at an angle: lines at whole metres and at fifths of them.
    fn draw_grid(&self, scene: &Scene, floor: &Floor, svg: &mut String) {
        let center = scene.center;
        let [width, height] = self.size();
        let disc = self.view.oblique();
        let [c, s] = self.view.right;
        let at = |x: f64, y: f64| self.pixel(center, self.view.turn([x, y, floor.height]));
        let [x, y] = [c * center[0] - s * center[1], s * center[0] + c * center[1]];
        // centre of the visible floor in the world, and half its extent along x and y
        let (middle, reach) = if disc {
            ([x, y], [self.radius; 2])
        } else {
            // seen from above the picture's axes are the world's
            let [low, high] = self.vertical;
            ([x, y + 0.5 * (low + high)], [self.half, 0.5 * (high - low)])
        };
        let step = step(2.0 * reach[0].max(reach[1]));
        // positions of lines across one axis, and their ends along the other
        let lines = |spacing: f64, axis: usize| {
            let (from, to) = (middle[axis] - reach[axis], middle[axis] + reach[axis]);
            multiples(spacing, from, to).map(move |at| {
                let off = (at - middle[axis]) / reach[axis];
                let chord = if disc {
                    (1.0 - off * off).max(0.0).sqrt()
                } else {
                    1.0
                };
                let (other, reach) = (middle[1 - axis], reach[1 - axis]);
                (at, other - chord * reach, other + chord * reach)
            })
        };
        let grid = |spacing: f64| {
            let along_y = lines(spacing, 0).map(|(x, from, to)| [at(x, from), at(x, to)]);
            let along_x = lines(spacing, 1).map(|(y, from, to)| [at(from, y), at(to, y)]);
            along_y
                .chain(along_x)
                .map(|line| polyline(&line))
                .collect::<String>()
        };
        if disc && floor.solid {
            let [x, y] = at(middle[0], middle[1]);
            let [rx, ry] =
                [1.0, self.view.elevation[0]].map(|part| px(part * self.radius * self.scale));
            *svg += &format!(
                "<ellipse cx=\"{}\" cy=\"{}\" rx=\"{rx}\" ry=\"{ry}\" fill=\"{GREY}\" fill-opacity=\".14\"/>\n",
                px(x),
                px(y),
            );
        }
        if 0.2 * step * self.scale >= 8.0 {
            *svg += &format!(
                "<path d=\"{}\" stroke=\"{GREY}\" stroke-opacity=\".3\" stroke-width=\".6\"/>\n",
                grid(0.2 * step),
            );
        }
        *svg += &format!(
            "<path class=\"metres\" d=\"{}\" stroke=\"{GREY}\" stroke-opacity=\".7\"/>\n",
            grid(step),
        );
        for (metres, y, _) in lines(step, 0) {
            if disc && (metres - middle[0]).abs() > 0.65 * reach[0] {
                // the line ends at the side of the disc, where the label has no room
                continue;
            }
            let [x, y] = at(metres, y);
            let y = if disc { y + 12.0 } else { y - 4.0 };
            if x > 14.0 && x < width - 14.0 && y < height {
                *svg += &label(if disc { x + 6.0 } else { x + 14.0 }, y, metres);
            }
        }
        if disc && floor.solid {
            self.draw_shadow(scene, floor, svg);
        }
    }

    /// The shadow on the floor, of light from overhead.
    fn draw_shadow(&self, scene: &Scene, floor: &Floor, svg: &mut String) {
        // drawn as seen from above, then flattened, round ends of capsules included
        let [_, y] = self.pixel(
            scene.center,
            [scene.center[0], scene.center[1], floor.height],
        );
        let [sin, _] = self.view.elevation;
        let at = |[right, away, _]: [f64; 3]| {
            [
                MARGIN + (self.half + right - scene.center[0]) * self.scale,
                (scene.center[1] - away) * self.scale,
            ]
        };
        *svg += &format!(
            "<g class=\"shadow\" transform=\"matrix(1 0 0 {sin:.4} 0 {})\" opacity=\".22\" stroke=\"#000\">\n",
            px(y),
        );
        for part in scene.parts.iter().filter(|part| part.body.is_some()) {
            let line = |ends: &[[f64; 3]; 2], width: f64| {
                let width = px(width);
                format!(
                    "<path d=\"{}\" stroke-width=\"{width}\"/>\n",
                    polyline(&ends.map(at))
                )
            };
            *svg += &match &part.form {
                Form::Capsule(ends, radius) => line(ends, 2.0 * radius * self.scale),
                Form::Ball(middle, radius) => line(&[*middle; 2], 2.0 * radius * self.scale),
                Form::Bone(ends) => line(ends, BONE),
                Form::Hull(points) => format!(
                    "<path d=\"{}Z\" fill=\"#000\" stroke=\"none\"/>\n",
                    polyline(&hull(points.iter().copied().map(at).collect())),
                ),
            };
        }
        *svg += "</g>\n";
    }
}

/// Distance between marks: a metre, or a higher power of ten so that there are at most 20.
fn step(length: f64) -> f64 {
    10_f64.powf((length / 20.0).log10().ceil().max(0.0))
}

/// The multiples of `step` between two numbers.
fn multiples(step: f64, from: f64, to: f64) -> impl Iterator<Item = f64> {
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last).map(move |multiple| multiple as f64 * step)
}

fn label(x: f64, y: f64, metres: f64) -> String {
    let (x, y) = (px(x), px(y));
    format!("<text x=\"{x}\" y=\"{y}\" fill=\"{GREY}\">{metres:.0} m</text>\n")
}

/// Colour of a tone from 0 (far) to 1 (near).
fn color(tone: f64) -> String {
    let [r, g, b] = std::array::from_fn(|channel| {
        let (far, near) = (FAR[channel], NEAR[channel]);
        (far + (near - far) * tone.clamp(0.0, 1.0)).round() as u8
    });
    format!("#{r:02x}{g:02x}{b:02x}")
}

/// The corners of the convex hull, in order (Andrew's monotone chain).
fn hull(mut points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    let chain = |points: &mut dyn Iterator<Item = [f64; 2]>| {
        let mut chain: Vec<[f64; 2]> = vec![];
        for point in points {
            while let [.., a, b] = chain[..] {
                let turn = (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]);
                // a corner flatter than a pixel
                if turn > 1e-6 {
                    break;
                }
                chain.pop();
            }
            chain.push(point);
        }
        chain
    };
    let mut corners = chain(&mut points.iter().copied());
    corners.pop();
    corners.extend(chain(&mut points.iter().rev().copied()));
    if corners.len() > 1 {
        corners.pop();
    }
    corners
}

fn polyline(points: &[[f64; 2]]) -> String {
    let mut path = String::new();
    for (index, &point) in points.iter().enumerate() {
        let ([x, y], letter) = (point.map(px), if index == 0 { 'M' } else { 'L' });
        path += &format!("{letter}{x} {y}");
    }
    path
}

/// A number with at most one decimal.
pub(super) fn px(x: f64) -> String {
    let tenths = (x * 10.0).round();
    // adding 0 turns -0 into 0
    format!("{}", tenths / 10.0 + 0.0)
}

/// Escapes the text of an element.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        match letter {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            _ => escaped.push(letter),
        }
    }
    escaped
}
