/// Bytes of a name that may be a slip of the pen: comparing takes time with the length.
const LONGEST: usize = 100;

/// The most similar of `known`, where one is similar at all.
///
/// ```
/// assert_eq!(mbmpo_core::nearest("half-chetah", ["point-2d", "half-cheetah"]), Some("half-cheetah"));
/// assert_eq!(mbmpo_core::nearest("zebra", ["point-2d", "half-cheetah"]), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            (
                strsim::jaro_winkler(&lower, &candidate.to_lowercase()),
                candidate,
            )
        })
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    /// Fails when a name of any length is compared, which takes minutes for megabytes.
    #[test]
    fn long_names_are_like_none() {
        assert_eq!(nearest("point-2", ["point-2d"]), Some("point-2d"));
        let known = "half-cheetah".repeat(5);
        assert_eq!(nearest(&known, [known.as_str()]), Some(known.as_str()));
        assert_eq!(nearest(&known.repeat(2), [known.as_str()]), None);
    }
}
