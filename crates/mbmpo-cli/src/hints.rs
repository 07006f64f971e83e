//! Error messages of the command line: those of the library, with the flags and with hints.

use mbmpo_experiments::{Error, Origin};

/// The message of an error, and a line with a hint where there is one.
pub fn describe(error: &Error) -> String {
    match hint(error) {
        Some(hint) => format!("{}\nhint: {hint}", message(error)),
        None => message(error),
    }
}

/// The message, in which an override is shown as an argument of `--set`.
fn message(error: &Error) -> String {
    match error {
        Error::Override { text, message } => format!("--set {text}: {message}"),
        Error::Invalid(values) => {
            let lines = values.iter().map(|value| match &value.origin {
                Origin::Override(text) => format!("--set {text}: {}", value.value),
                Origin::File(_) => value.to_string(),
            });
            lines.collect::<Vec<_>>().join("\n")
        }
        error => error.to_string(),
    }
}

/// What to do next.
fn hint(error: &Error) -> Option<String> {
    let hint = match error {
        Error::NoEnvironment => {
            "name one (see `mbmpo env list`), give a robot of your own with --robot FILE.xml --task FILE.ron, or, to train, \
             a --preset FILE.ron that names one"
        }
        Error::Device { device } => {
            return Some(format!(
                "build with `cargo build --package mbmpo-cli --features {device}`"
            ));
        }
        Error::Instructions(_) => {
            "--instructions auto takes the fastest of these; every set gives the same bytes"
        }
        Error::NotARun { .. } => "`mbmpo train` makes a run",
        Error::Incomplete { .. } => "choose another directory with --out, or remove this one",
        Error::UnknownName { kind: "preset", .. } => {
            "give a preset of your own as a file: --preset FILE.ron"
        }
        Error::RunExists { .. } => {
            "go on with it by --resume, choose another directory with --out, or remove it"
        }
        Error::Unwritable { .. } => "choose another directory with --out",
        Error::Differs { .. } => {
            "repeat the command of that run, or choose another directory with --out"
        }
        Error::Format { .. } => {
            "go on with the mbmpo that wrote it (its version is in the file), or begin anew with another --out"
        }
        Error::NoCheckpoint { .. } => {
            "begin anew with another --out; the metrics and the policy so far stay here"
        }
        Error::Save { .. } => "make room, then repeat the command with --resume",
        Error::Failed {
            source, attempts, ..
        } if source.is_numeric() => match attempts {
            0 => "repeat the command with --resume --on-nan rollback to try other random numbers",
            _ => "change a setting and begin anew with another --out",
        },
        Error::Interrupted { .. } => "repeat the command with --resume to go on",
        _ => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use mbmpo_core::InvalidValue;
    use mbmpo_experiments::OutOfRange;
    use std::io;

    fn failed(source: mbmpo_core::Error, attempts: usize) -> Error {
        Error::Failed {
            iteration: 3,
            seed: 1,
            source,
            attempts,
            kept: None,
        }
    }

    /// Fails when the hint of an error does not name the flag or command that helps, or the library
    /// names flags itself.
    #[test]
    fn messages_name_the_flags() {
        let (path, full) = ("run".into(), || io::Error::from(io::ErrorKind::StorageFull));
        let nan = || mbmpo_core::Error::NotFinite {
            what: "the loss".to_owned(),
        };
        let damaged = Error::Damaged {
            path: "run/checkpoints".into(),
            what: "it is gone".to_owned(),
        };
        let cases: [(Error, &[&str]); 14] = [
            (Error::NoEnvironment, &["env list", "--robot", "--preset"]),
            (Error::Device { device: "webgpu" }, &["--features webgpu"]),
            (
                Error::NotARun {
                    path,
                    looked_for: "config.ron".to_owned(),
                },
                &["run is not a run", "mbmpo train"],
            ),
            (
                Error::Incomplete {
                    path: "run".into(),
                    missing: "run.json",
                },
                &["run has files of a run, but no run.json", "--out", "remove"],
            ),
            (
                Error::UnknownName {
                    kind: "preset",
                    name: "pape".to_owned(),
                    known: vec!["paper".to_owned()],
                },
                &["(there are `paper`)", "--preset FILE.ron"],
            ),
            (
                Error::RunExists {
                    path: "run".into(),
                    found: "run.json".to_owned(),
                },
                &["already holds a run (found run.json)", "--resume", "--out"],
            ),
            (
                Error::Unwritable {
                    path: "run".into(),
                    source: full(),
                },
                &["cannot write to run", "--out"],
            ),
            (
                Error::Differs {
                    path: "run".into(),
                    what: "the seed there is 1, here 2".to_owned(),
                },
                &["the seed there is 1, here 2", "--out"],
            ),
            (
                Error::Format {
                    path: "run".into(),
                    found: 7,
                    known: 1,
                },
                &["format 7", "--out"],
            ),
            (
                Error::NoCheckpoint {
                    path: "run".into(),
                    source: Box::new(damaged),
                },
                &["run/checkpoints", "--out"],
            ),
            (
                Error::Save {
                    path: "run/metrics.jsonl".into(),
                    source: full(),
                    kept: Some("run/checkpoints/000001.json".into()),
                },
                &["000001.json is as it was", "--resume"],
            ),
            (
                failed(nan(), 0),
                &["nothing was saved", "--resume --on-nan rollback"],
            ),
            (
                failed(nan(), 3),
                &["did not help 3 times", "change a setting", "--out"],
            ),
            (
                Error::Interrupted {
                    signal: 2,
                    position: Default::default(),
                    bytes: 5_000_000,
                    path: "run".into(),
                },
                &["stopped after 0 iterations", "(5.0 MB)", "--resume"],
            ),
        ];
        for (error, parts) in cases {
            // the library knows no flags
            assert!(!error.to_string().contains("--"), "{error}");
            let said = describe(&error);
            for part in parts {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        let other = mbmpo_core::Error::Description("no".to_owned());
        assert!(!describe(&failed(other, 0)).contains("hint"));
    }

    /// Fails when an override is not shown as it was typed.
    #[test]
    fn overrides_are_those_of_set() {
        let value = InvalidValue {
            key: "horizon".to_owned(),
            value: "0".to_owned(),
            allowed: "1 to 100000".to_owned(),
        };
        let [file, typed] = [
            Origin::File("my.ron:3:5".to_owned()),
            Origin::Override("horizon=0".to_owned()),
        ]
        .map(|origin| OutOfRange {
            origin,
            value: value.clone(),
        });
        assert_eq!(
            describe(&Error::Invalid(vec![file, typed])),
            "my.ron:3:5: `horizon` is 0, allowed is 1 to 100000\n\
             --set horizon=0: `horizon` is 0, allowed is 1 to 100000"
        );
        let error = Error::Override {
            text: "horizon".to_owned(),
            message: "expected key.path=value".to_owned(),
        };
        assert_eq!(describe(&error), "--set horizon: expected key.path=value");
    }
}
