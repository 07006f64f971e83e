/// The most similar of `known`, where one is similar at all.
///
/// ```
/// assert_eq!(mbmpo_core::nearest("half-chetah", ["point-2d", "half-cheetah"]), Some("half-cheetah"));
/// assert_eq!(mbmpo_core::nearest("zebra", ["point-2d", "half-cheetah"]), None);
/// ```
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // no key or name is longer, and comparing takes the product of the lengths
    if name.len() > 100 {
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
