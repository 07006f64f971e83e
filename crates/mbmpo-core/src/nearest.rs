/// Longest name that is compared \[bytes\]: the time grows with the product of the lengths.
const LONGEST: usize = 100;

/// The most similar of the `known` names (Jaro-Winkler similarity without regard to case), where
/// one is similar at all.
///
/// ```
/// let known = ["point-2d", "half-cheetah"];
/// assert_eq!(mbmpo_core::nearest("half-chetah", known), Some("half-cheetah"));
/// assert_eq!(mbmpo_core::nearest("zebra", known), None);
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

/// The message that no `kind` is called `name`: with the most similar of `known`, where one is
/// similar, and the list of them all.
///
/// ```
/// use mbmpo_core::unknown_name;
///
/// assert_eq!(
///     unknown_name("environment", "hoper", ["hopper", "ant"].into_iter()),
///     "there is no environment `hoper`, did you mean `hopper`? (there are `hopper`, `ant`)"
/// );
/// ```
pub fn unknown_name<'a>(
    kind: &str,
    name: &str,
    known: impl Iterator<Item = &'a str> + Clone,
) -> String {
    let hint = nearest(name, known.clone()).map_or_else(String::new, |nearest| {
        format!(", did you mean `{nearest}`?")
    });
    let known: Vec<_> = known.map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    format!("there is no {kind} `{name}`{hint} (there are {known})")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    /// Fails when a name of any length is compared, which takes minutes for megabytes.
    #[test]
    fn long_names_are_not_compared() {
        assert_eq!(nearest("point-2", ["point-2d"]), Some("point-2d"));
        let known = "half-cheetah".repeat(5);
        assert_eq!(nearest(&known, [known.as_str()]), Some(known.as_str()));
        assert_eq!(nearest(&known.repeat(2), [known.as_str()]), None);
    }
}
