use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The source that an environment follows where sources differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Variant {
    /// The paper (arXiv:1809.05214, appendix A.3), with the time steps of the authors' code.
    #[default]
    Paper,
    /// The authors' published code.
    Authors,
    /// The paper, with the time steps of OpenAI Gym's environments of the same name.
    Gym,
}

impl Variant {
    /// All variants.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Authors, Self::Gym];
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Authors => "authors",
            Self::Gym => "gym",
        })
    }
}

impl FromStr for Variant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|variant| variant.to_string() == text)
            .ok_or_else(|| "there are `paper`, `authors`, `gym`".to_owned())
    }
}
