//! Figures that are the same bytes for the same numbers.

use kuva::prelude::{Layout, Plot};

const CLIP: &str = "kuva-clip-";

/// An SVG of the plots. The library numbers clip paths through the life of the process; here they count from 1.
pub(crate) fn render(plots: Vec<Plot>, layout: Layout) -> String {
    let svg = kuva::render_to_svg(plots, layout);
    let mut parts = svg.split(CLIP);
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut numbers: Vec<&str> = Vec::new();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit());
        let (number, rest) = part.split_at(digits.unwrap_or(part.len()));
        let known = numbers.iter().position(|known| *known == number);
        let at = known.unwrap_or_else(|| {
            numbers.push(number);
            numbers.len() - 1
        });
        text += &format!("{CLIP}{}{rest}", at + 1);
    }
    text
}
