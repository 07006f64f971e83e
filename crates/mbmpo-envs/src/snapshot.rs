//! Format of a snapshot: a mark, the environment's name, then numbers, all little endian.

use mbmpo_core::{Error, Result};

/// Identifies the format and its version.
const MARK: &[u8; 8] = b"mbmpo\0s1";

/// The snapshot of the environment `name` with these numbers.
pub(crate) fn write(name: &str, numbers: impl IntoIterator<Item = f64>) -> Vec<u8> {
    let mut bytes = MARK.to_vec();
    bytes.extend((name.len() as u64).to_le_bytes());
    bytes.extend(name.as_bytes());
    for number in numbers {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

/// The `count` numbers of a snapshot of the environment `name`.
///
/// # Errors
/// When the bytes are anything else.
pub(crate) fn read(name: &str, count: usize, bytes: &[u8]) -> Result<Vec<f64>> {
    let foreign = |what: &str| Error::Description(format!("{name}: {what}"));
    let mut head = MARK.to_vec();
    head.extend((name.len() as u64).to_le_bytes());
    head.extend(name.as_bytes());
    if !bytes.starts_with(MARK) {
        return Err(foreign("these bytes are not a snapshot"));
    }
    let Some(body) = bytes.strip_prefix(head.as_slice()) else {
        return Err(foreign("the snapshot is of another environment"));
    };
    let what = format!("{name}: bytes of the state in the snapshot");
    Error::check_shape(&what, 8 * count, body.len())?;
    let numbers: Vec<_> = body
        .as_chunks::<8>()
        .0
        .iter()
        .map(|chunk| f64::from_le_bytes(*chunk))
        .collect();
    if numbers.iter().all(|number| number.is_finite()) {
        Ok(numbers)
    } else {
        Err(foreign("the snapshot has numbers that are not finite"))
    }
}
