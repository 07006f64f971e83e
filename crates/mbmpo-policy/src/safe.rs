//! Single-precision tensors and a normaliser in safetensors files.

use crate::Normalizer;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// Why bytes are not a policy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not in the safetensors format.
    #[error("not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor is missing or of another shape.
    #[error("not a policy: `{0}` must be {1}")]
    Part(String, String),
}

const MEAN: &str = "observation.mean";
const STD: &str = "observation.std";
const CLIP: &str = "observation.clip";

/// Name, shape and entries.
pub(crate) type Part = (String, Vec<usize>, Vec<f32>);

/// A file with these tensors.
pub(crate) fn write(
    parts: &[Part],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, LoadError> {
    let bytes: Vec<Vec<u8>> = parts
        .iter()
        .map(|(.., entries)| entries.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let views = parts
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, Some(metadata))?)
}

/// Adds `observation.mean` and `observation.std` `[observation]`, and the clip to the metadata.
pub(crate) fn add_normalizer(
    normalizer: &Normalizer,
    parts: &mut Vec<Part>,
    metadata: &mut HashMap<String, String>,
) {
    for (name, entries) in [(MEAN, &normalizer.mean), (STD, &normalizer.std)] {
        parts.push((name.to_owned(), vec![entries.len()], entries.clone()));
    }
    metadata.insert(CLIP.to_owned(), normalizer.clip.to_string());
}

/// A file that is being read.
pub(crate) struct File<'a> {
    pub(crate) metadata: HashMap<String, String>,
    pub(crate) tensors: SafeTensors<'a>,
}

impl<'a> File<'a> {
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let (_, header) = SafeTensors::read_metadata(bytes)?;
        Ok(Self {
            metadata: header.metadata().clone().unwrap_or_default(),
            tensors: SafeTensors::deserialize(bytes)?,
        })
    }

    /// The entries of the tensor of that name and shape.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let wanted = || LoadError::Part(name.to_owned(), format!("F32 {shape:?}"));
        let view = self.tensors.tensor(name).map_err(|_| wanted())?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(wanted());
        }
        let (numbers, _) = view.data().as_chunks::<4>();
        Ok(numbers.iter().map(|&x| f32::from_le_bytes(x)).collect())
    }

    /// The normaliser of observations, where there is one.
    pub(crate) fn normalizer(&self, dim: usize) -> Result<Option<Normalizer>, LoadError> {
        let Some(clip) = self.metadata.get(CLIP) else {
            return Ok(None);
        };
        let refused =
            |name: &str, wanted: &str| LoadError::Part(name.to_owned(), wanted.to_owned());
        let positive = |x: &f32| *x > 0.0 && x.is_finite();
        let clip = clip
            .parse()
            .ok()
            .filter(positive)
            .ok_or_else(|| refused(CLIP, "a number above 0"))?;
        let (mean, std) = (self.tensor(MEAN, &[dim])?, self.tensor(STD, &[dim])?);
        if !std.iter().all(positive) || !mean.iter().all(|x| x.is_finite()) {
            return Err(refused(STD, "above 0, with finite means"));
        }
        Ok(Some(Normalizer { mean, std, clip }))
    }
}
