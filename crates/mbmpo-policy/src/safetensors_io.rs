//! Writing and reading safetensors files of single-precision tensors, among them a normaliser.

use crate::Normalizer;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::collections::HashMap;

/// An error in reading a policy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Not in the safetensors format.
    #[error("not a safetensors file: {0}")]
    Format(#[from] safetensors::SafeTensorError),
    /// A tensor or an entry of the metadata is missing or not valid.
    #[error("not a policy: `{0}` must be {1}")]
    Part(String, String),
}

const MEAN: &str = "observation.mean";
const STD: &str = "observation.std";
const CLIP: &str = "observation.clip";

/// Name, shape and entries.
pub(crate) type NamedTensor = (String, Vec<usize>, Vec<f32>);

/// A file with these tensors and one entry of metadata. (The library writes several entries in
/// random order.)
pub(crate) fn write(
    tensors: &[NamedTensor],
    (key, value): (&str, String),
) -> Result<Vec<u8>, LoadError> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(.., entries)| entries.iter().flat_map(|x| x.to_le_bytes()).collect())
        .collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| {
            Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?))
        })
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(
        views,
        Some(HashMap::from([(key.to_owned(), value)])),
    )?)
}

/// Adds `observation.mean` and `observation.std` `[observation]`, and `observation.clip` `[1]`.
pub(crate) fn add_normalizer(normalizer: &Normalizer, tensors: &mut Vec<NamedTensor>) {
    let Normalizer { mean, std, clip } = normalizer;
    for (name, entries) in [(MEAN, mean), (STD, std), (CLIP, &vec![*clip])] {
        tensors.push((name.to_owned(), vec![entries.len()], entries.clone()));
    }
}

/// The contents of a file.
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
        let numbers: Vec<f32> = numbers.iter().map(|&x| f32::from_le_bytes(x)).collect();
        if !numbers.iter().all(|x| x.is_finite()) {
            let wanted = "finite numbers".to_owned();
            return Err(LoadError::Part(name.to_owned(), wanted));
        }
        Ok(numbers)
    }

    /// The normaliser of observations of `dim` components, where the file has one.
    pub(crate) fn normalizer(&self, dim: usize) -> Result<Option<Normalizer>, LoadError> {
        if self.tensors.tensor(CLIP).is_err() {
            return Ok(None);
        }
        let refused =
            |name: &str, wanted: &str| LoadError::Part(name.to_owned(), wanted.to_owned());
        let positive = |x: &f32| *x > 0.0;
        let clip = self.tensor(CLIP, &[1])?[0];
        let (mean, std) = (self.tensor(MEAN, &[dim])?, self.tensor(STD, &[dim])?);
        if !positive(&clip) {
            return Err(refused(CLIP, "above 0"));
        }
        if !std.iter().all(positive) {
            return Err(refused(STD, "above 0"));
        }
        Ok(Some(Normalizer { mean, std, clip }))
    }
}
