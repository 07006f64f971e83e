//! A suite runs every experiment with every seed, any number of them at once, and averages over the
//! seeds.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::Silent;
use mbmpo_experiments::suite::{Entry, Job, Options, gather, plan, run_suite, table};
use mbmpo_experiments::{
    AlgorithmKind, DeviceKind, Error, RunDirectory, RunInfo, Safety, Selection, preset,
    read_metrics,
};
use std::path::Path;

const TINY: [&str; 8] = [
    "real_steps=60",
    "algorithm.initial_random_steps=60",
    "algorithm.imagined_rollouts_per_task=2",
    "algorithm.meta_steps=1",
    "evaluation_episodes=3",
    "algorithm.ensemble.members=2",
    "algorithm.ensemble.hidden=[8]",
    "algorithm.ensemble.max_epochs=2",
];

/// Fails when the results depend on the number of runs at once, are averaged wrongly, cannot be
/// read from the disk, or are those of a run with another seed or configuration.
#[test]
fn results_do_not_depend_on_the_number_of_jobs() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("tiny.ron");
    let config = preset::resolve("point-2d", "quick", &TINY.map(str::to_owned)).unwrap();
    std::fs::write(&file, config.to_ron().unwrap()).unwrap();
    let entry = Entry {
        environment: "point-2d".to_owned(),
        selection: (&file.display().to_string()).into(),
        overrides: vec![],
    };
    let plan = plan(&[entry], &[5, 9]).unwrap();
    let run = |jobs: usize, resume: bool| {
        let options = Options {
            parallel: jobs,
            threads: 2,
            device: DeviceKind::Cpu,
            out: parent.path().join(format!("jobs-{jobs}")),
            command: vec![],
            resume,
            safety: Safety::default(),
        };
        let rows = run_suite(&plan, &options, |_, _| Silent).unwrap();
        let returns = [5, 9].map(|seed| {
            let run = options.out.join(format!("point-2d-tiny-seed{seed}"));
            read_metrics(&run).unwrap()[0].return_pre_mean
        });
        (rows, returns, options.out)
    };
    let (rows, [five, nine], out) = run(1, false);
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].seeds, rows[0].real_steps), (2, 60.0));
    assert!((rows[0].return_mean - (five + nine) / 2.0).abs() < 1e-9);
    assert!((rows[0].return_std - (five - nine).abs() / 2.0).abs() < 1e-9);
    assert_eq!(
        std::fs::read_to_string(out.join("results.jsonl"))
            .unwrap()
            .lines()
            .count(),
        2
    );
    assert_eq!(
        std::fs::read_to_string(out.join("summary.txt")).unwrap(),
        table(&rows)
    );
    // another process finds the same on the disk
    assert_eq!(gather(&plan, &out).unwrap(), rows);
    let (_, in_parallel, _) = run(2, false);
    assert_eq!(in_parallel, [five, nine]);

    // missing runs are run again, finished ones are not
    std::fs::remove_dir_all(out.join("point-2d-tiny-seed9")).unwrap();
    assert_eq!(gather(&plan, &out).unwrap()[0].seeds, 1);
    let kept = out.join("point-2d-tiny-seed5/policy.safetensors");
    let written = || std::fs::metadata(&kept).unwrap().modified().unwrap();
    let before = written();
    let (again, returns, _) = run(1, true);
    assert_eq!((returns, written()), ([five, nine], before));
    assert_eq!(again[0].return_mean, rows[0].return_mean);

    // the run in the directory of a job is not that of the job
    let nine = out.join("point-2d-tiny-seed9");
    std::fs::remove_dir_all(&nine).unwrap();
    std::fs::rename(out.join("point-2d-tiny-seed5"), &nine).unwrap();
    let message = gather(&plan, &out).unwrap_err().to_string();
    assert!(
        message.contains("tiny-seed9 holds another run: the seed there is 5, here 9"),
        "{message}"
    );
    let text = std::fs::read_to_string(&file).unwrap();
    let other = text.replace("meta_steps: 1", "meta_steps: 2");
    assert_ne!(text, other);
    std::fs::write(&file, other).unwrap();
    let message = gather(&plan, &out).unwrap_err().to_string();
    assert!(
        message.contains("`algorithm.meta_steps` there is 1, here 2"),
        "{message}"
    );
}

/// A run of the 2D point in the directory of `job`, with this override.
fn begin(job: &Job, out: &Path, text: &str) -> RunDirectory {
    let config = preset::resolve("point-2d", "quick", &[text.to_owned()]).unwrap();
    let info = RunInfo::begin("point-2d", "quick", job.seed, DeviceKind::Cpu, 1, &[]);
    RunDirectory::create(Some(&job.directory(out)), &config, info).unwrap()
}

/// Fails when the last line of a run that was killed, which may be incomplete, makes the results of
/// the others unreadable.
#[test]
fn results_skip_a_run_that_is_not_finished() {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(&[quick()], &[3]).unwrap();
    begin(&plan[0], parent.path(), "horizon=30");
    let metrics = plan[0].directory(parent.path()).join("metrics.jsonl");
    std::fs::write(metrics, "{\"iter").unwrap();
    assert_eq!(gather(&plan, parent.path()).unwrap()[0].seeds, 0);
}

/// Fails when an error in gathering the results hides why a run failed.
#[test]
fn the_failure_of_a_run_is_reported_first() {
    let parent = tempfile::tempdir().unwrap();
    let plan = plan(&[quick()], &[3]).unwrap();
    begin(&plan[0], parent.path(), "horizon=29");
    std::fs::create_dir(parent.path().join("results.jsonl")).unwrap();
    let options = options(parent.path(), true);
    let error = run_suite(&plan, &options, |_, _| Silent).unwrap_err();
    assert!(matches!(error, Error::Differs { .. }), "{error}");
    let error = gather(&plan, parent.path()).unwrap_err();
    assert!(matches!(error, Error::Write { .. }), "{error}");
}

/// Fails when a plan read from a file is not the one that was written, or an algorithm is not
/// written by its name.
#[test]
fn a_plan_can_be_written_to_a_file() {
    let trpo = Entry {
        selection: Selection {
            algorithm: Some(AlgorithmKind::Trpo),
            preset: None,
        },
        overrides: vec!["real_steps=8000".to_owned()],
        ..quick()
    };
    let plan = plan(&[quick(), trpo], &[1, u64::MAX]).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert!(text.contains("\"algorithm\":\"trpo\""), "{text}");
    assert_eq!(serde_json::from_str::<Vec<Job>>(&text).unwrap(), plan);
    let unknown = text.replace("trpo", "ttpo");
    let message = serde_json::from_str::<Vec<Job>>(&unknown).unwrap_err();
    assert!(message.to_string().contains("`trpo`"), "{message}");
}

fn quick() -> Entry {
    Entry {
        environment: "point-2d".to_owned(),
        selection: "quick".into(),
        overrides: vec![],
    }
}

fn options(out: &Path, resume: bool) -> Options {
    Options {
        parallel: 1,
        threads: 1,
        device: DeviceKind::Cpu,
        out: out.to_owned(),
        command: vec![],
        resume,
        safety: Safety::default(),
    }
}

/// Fails when a mistake is found only after other jobs have run, or a finished run is overwritten.
#[test]
fn mistakes_show_before_anything_runs() {
    let parent = tempfile::tempdir().unwrap();
    let run = |seeds: Vec<u64>| {
        let plan = plan(&[quick()], &seeds)?;
        run_suite(&plan, &options(parent.path(), false), |_, _| Silent)
    };
    let twice = run(vec![3, 4, 3]).unwrap_err();
    assert!(
        twice.is_input() && twice.to_string().contains("seed 3"),
        "{twice}"
    );
    let job = Job {
        entry: quick(),
        seed: 4,
    };
    begin(&job, parent.path(), "horizon=30");
    let taken = run(vec![3, 4]).unwrap_err();
    assert!(
        taken.is_input() && taken.to_string().contains("seed4"),
        "{taken}"
    );
    assert!(!parent.path().join("point-2d-quick-seed3").exists());
}

/// Fails when experiments that differ in an override share a directory, or when the name of a
/// directory depends on more than the job, is too long, or is a path.
#[test]
fn every_job_has_a_directory_of_its_own() {
    let entry = |overrides: &[&str]| Entry {
        environment: "hopper".to_owned(),
        selection: "quick".into(),
        overrides: overrides.iter().map(|&text| text.to_owned()).collect(),
    };
    let long = format!("real_steps={}1000", " ".repeat(200));
    let entries = [
        entry(&[]),
        entry(&["algorithm.meta_steps=2"]),
        entry(&["algorithm.meta_steps=3", "env.physics.mass.all=1.5"]),
        entry(&["algorithm.policy.hidden=[8, 8]"]),
        entry(&["algorithm.policy.hidden=[8,  8]"]),
        entry(&[&long]),
    ];
    let names: Vec<_> = plan(&entries, &[1])
        .unwrap()
        .iter()
        .map(|job| job.name())
        .collect();
    assert_eq!(names[0], "hopper-quick-seed1");
    assert_eq!(names[1], "hopper-quick,algorithm.meta_steps=2-seed1");
    assert!(names[5].len() < 120, "{}", names[5]);
    for name in &names {
        assert!(!name.contains(['/', '\\', ' ', '[']), "{name}");
    }
    let distinct: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), entries.len());
}
