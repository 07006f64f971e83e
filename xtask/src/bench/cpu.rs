//! The processor: its name and the instructions that bear on our arithmetic.

/// Its name, where the operating system tells it, and otherwise its architecture.
pub fn name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    model(&text).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first name in the text of Linux's `/proc/cpuinfo`.
fn model(text: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        let value = value.trim();
        (key.trim() == "model name" && !value.is_empty()).then(|| value.to_owned())
    })
}

/// Those of the extensions that it has.
#[cfg(target_arch = "x86_64")]
pub fn features() -> Vec<&'static str> {
    macro_rules! detected {
        ($($name:tt),*) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),*]
        };
    }
    let all = detected![
        "sse4.2",
        "avx",
        "fma",
        "avx2",
        "avx512f",
        "avx512cd",
        "avx512bw",
        "avx512dq",
        "avx512vl",
        "avx512vnni",
        "avx512bf16"
    ];
    let has = all.into_iter().filter(|(_, has)| *has);
    has.map(|(name, _)| name).collect()
}

/// Those of the extensions that it has.
#[cfg(target_arch = "aarch64")]
pub fn features() -> Vec<&'static str> {
    let all = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("sve", std::arch::is_aarch64_feature_detected!("sve")),
    ];
    let has = all.into_iter().filter(|(_, has)| *has);
    has.map(|(name, _)| name).collect()
}

/// Nothing is known of other processors.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn features() -> Vec<&'static str> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mbmpo_kernels::Instructions;

    /// Fails when another line is taken for the name, or a machine without one has an empty name.
    #[test]
    fn the_name_of_the_model() {
        let text =
            "processor\t: 0\nmodel\t\t: 7\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: B\n";
        assert_eq!(model(text), Some("Some CPU @ 2 GHz".to_owned()));
        assert_eq!(model("processor : 0\nFeatures : fp asimd"), None);
        assert!(!name().is_empty());
    }

    /// Fails when a set of kernels is available whose instructions are not listed.
    #[test]
    fn what_the_kernels_use_is_listed() {
        let features = features();
        for set in Instructions::available() {
            let needs: &[&str] = match set {
                Instructions::Avx512 => &["avx512f", "avx512bw", "avx512dq", "avx512vl"],
                Instructions::Avx2 => &["avx2", "fma"],
                Instructions::Neon => &["neon"],
                Instructions::Scalar => &[],
            };
            for name in needs {
                assert!(features.contains(name), "{set}: {features:?}");
            }
        }
    }
}
