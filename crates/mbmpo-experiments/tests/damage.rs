//! Damaged checkpoints: with any byte missing or changed, a run goes on from the checkpoint before,
//! with a warning that names the file, or ends with an error that names it; it never panics, and
//! never restores a damaged state.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::{Archive, IterationMetrics, Persist, Purpose, Result, Streams};
use mbmpo_experiments::checkpoint::{FORMAT, Manifest};
use mbmpo_experiments::{DeviceKind, Error, RunDirectory, RunInfo, preset};
use mbmpo_policy::{DeterministicPolicy, Mlp};
use rand::RngExt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A state with every kind of part.
#[derive(Debug, Clone, PartialEq, Default)]
struct Small {
    weights: [f64; 3],
    log: Vec<f32>,
    count: usize,
}

impl Persist for Small {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.array("weights", &mut self.weights)?;
        archive.list("log", &mut self.log)?;
        archive.count("count", &mut self.count)
    }
}

fn small(x: usize) -> Small {
    Small {
        weights: [x as f64, 0.1, -1e300],
        log: vec![1.5; x],
        count: x,
    }
}

fn open(path: &Path) -> RunDirectory {
    let config = preset::resolve("point-2d", "quick", &[]).unwrap();
    let info = RunInfo::begin("point-2d", "quick", 7, DeviceKind::Cpu, 1, &[]);
    RunDirectory::resume(Some(path), &config, info).unwrap()
}

/// A run with two checkpoints, after one iteration and after two.
fn run(path: &Path) -> RunDirectory {
    let mut directory = open(path);
    let network = Mlp {
        sizes: vec![2, 2],
        joining: 0,
        hidden: mbmpo_policy::Activation::Relu,
        output: mbmpo_policy::Activation::Tanh,
        layer_norm: false,
    };
    let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
    let parameters = network.initial_parameters(&mut stream);
    let policy = DeterministicPolicy {
        parameters: parameters.iter().map(|&x| x as f32).collect(),
        normalizer: mbmpo_policy::RunningNormalizer::new(2, 5.0).normalizer(),
        network,
    };
    for x in 1..=2 {
        let metrics = IterationMetrics {
            iteration: x - 1,
            real_steps: 10 * x,
            ..IterationMetrics::default()
        };
        directory.record(&metrics, &policy).unwrap();
        directory.save(&mut small(x)).unwrap();
    }
    directory
}

fn file(path: &Path, name: &str) -> PathBuf {
    path.join("checkpoints").join(name)
}

/// The restored state, and the notices.
fn restore(directory: &mut RunDirectory) -> (Result<Small, Error>, Vec<String>) {
    let mut notices = Vec::new();
    let mut found = small(0);
    let outcome = directory.restore(&mut found, |text| notices.push(text.to_owned()));
    (outcome.map(|()| found), notices)
}

/// Replaces a file by `change`, requires that the checkpoint before it is restored, and puts
/// everything back. (Files are removed first: some file systems flush a file that is overwritten.)
fn damage(directory: &mut RunDirectory, path: &Path, bytes: &[u8], change: &[u8]) {
    let metrics = directory.path().join("metrics.jsonl");
    let lines = fs::read_to_string(&metrics).unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, change).unwrap();
    let (found, notices) = restore(directory);
    assert_eq!(found.unwrap(), small(1));
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(
        notices.len() == 1 && notices[0].contains(name),
        "{notices:?}"
    );
    // so are the metrics
    assert_eq!(directory.history().len(), 1);
    let first = fs::read_to_string(&metrics).unwrap();
    assert_eq!(first.lines().count(), 1);
    let mut appended = fs::File::options().append(true).open(&metrics).unwrap();
    appended
        .write_all(&lines.as_bytes()[first.len()..])
        .unwrap();
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Fails when a truncated or longer file is used, panics, or is not named.
#[test]
fn cut_at_every_length() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = run(parent.path());
    for name in ["000002.json", "000002.safetensors"] {
        let path = file(parent.path(), name);
        let bytes = fs::read(&path).unwrap();
        for length in 0..bytes.len() {
            damage(&mut directory, &path, &bytes, &bytes[..length]);
        }
        let longer = [&bytes[..], b"\n"].concat();
        damage(&mut directory, &path, &bytes, &longer);
    }
    let (found, notices) = restore(&mut directory);
    assert_eq!((found.unwrap(), notices.len()), (small(2), 0));
}

/// Fails when a changed byte is not noticed.
#[test]
fn ten_thousand_flipped_bytes() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = run(parent.path());
    let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
    for name in ["000002.json", "000002.safetensors"] {
        let path = file(parent.path(), name);
        let bytes = fs::read(&path).unwrap();
        for _ in 0..5000 {
            let mut flipped = bytes.clone();
            let at = stream.random_range(0..bytes.len());
            flipped[at] ^= stream.random_range(1..=255_u8);
            damage(&mut directory, &path, &bytes, &flipped);
        }
    }
}

/// Fails when a run without an intact checkpoint gives another error than one that names a file, or
/// loses its metrics.
#[test]
fn no_intact_checkpoint_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = run(parent.path());
    for name in ["000001.safetensors", "000002.safetensors"] {
        fs::remove_file(file(parent.path(), name)).unwrap();
    }
    let (found, notices) = restore(&mut directory);
    let error = found.unwrap_err();
    assert!(matches!(error, Error::NoCheckpoint { .. }));
    let message = error.to_string();
    assert!(message.contains("000002.safetensors"), "{message}");
    assert_eq!((notices.len(), error.exit_code()), (2, 2));
    let metrics = fs::read_to_string(parent.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
}

/// Fails when a run whose checkpoints were removed starts again, which would lose its metrics.
#[test]
fn a_finished_run_is_not_begun_again() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = run(parent.path());
    directory.finish(Ok(())).unwrap();
    drop(directory);
    fs::remove_dir_all(parent.path().join("checkpoints")).unwrap();
    let (found, _) = restore(&mut open(parent.path()));
    let message = found.unwrap_err().to_string();
    assert!(message.contains("no checkpoint"), "{message}");
    let metrics = fs::read_to_string(parent.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
}

/// Fails when a directory of checkpoints that cannot be listed counts as empty.
#[cfg(unix)]
#[test]
fn an_unreadable_checkpoint_directory_is_an_error() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = run(parent.path());
    let checkpoints = parent.path().join("checkpoints");
    fs::remove_dir_all(&checkpoints).unwrap();
    std::os::unix::fs::symlink("/not/mounted", &checkpoints).unwrap();
    let (found, _) = restore(&mut directory);
    assert!(matches!(found, Err(Error::Unreadable { .. })));
    let metrics = fs::read_to_string(parent.path().join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 2);
}

/// Fails when metrics that are not those of the checkpoint are kept.
#[test]
fn metrics_that_were_changed_are_noticed() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = run(parent.path());
    let path = parent.path().join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(
        &path,
        text.replace("\"real_steps\":20", "\"real_steps\":21"),
    )
    .unwrap();
    let (found, notices) = restore(&mut directory);
    assert_eq!(found.unwrap(), small(1));
    assert!(notices[0].contains("metrics.jsonl"), "{notices:?}");
}

/// Fails when a checkpoint of another format is read, or the message does not name the format.
#[test]
fn another_format_is_refused_by_its_number() {
    let parent = tempfile::tempdir().unwrap();
    let directory = run(parent.path());
    drop(directory);
    let path = file(parent.path(), "000002.json");
    let manifest = Manifest::from_bytes(&fs::read(&path).unwrap(), &path).unwrap();
    for format in [0, FORMAT + 1] {
        let other = Manifest {
            format,
            ..manifest.clone()
        };
        fs::write(&path, other.to_bytes().unwrap()).unwrap();
        // an error, and not a fall-back: the checkpoint before it would lose iterations
        let (found, _) = restore(&mut open(parent.path()));
        let error = found.unwrap_err();
        assert!(matches!(error, Error::Format { found, .. } if found == format));
        let message = error.to_string();
        assert!(message.contains(&format!(
            "is of format {format}, this mbmpo reads format {FORMAT}"
        )));
    }
}

/// Fails when more than three checkpoints are kept, or a temporary file of a killed process is.
#[test]
fn only_three_checkpoints_are_kept() {
    let parent = tempfile::tempdir().unwrap();
    let mut directory = run(parent.path());
    fs::write(file(parent.path(), ".000003.safetensors.new"), "half").unwrap();
    for _ in 0..3 {
        directory.save(&mut small(2)).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(parent.path().join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [3, 4, 5].map(|n| [format!("00000{n}.json"), format!("00000{n}.safetensors")]);
    assert_eq!(names, expected.concat());
}
