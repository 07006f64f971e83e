//! `cargo xtask ci`: what must pass before a change goes in.

use anyhow::{Context, Result, ensure};
use std::process::Command;

const CHECKS: [&[&str]; 4] = [
    &["fmt", "--all", "--check"],
    &[
        "clippy",
        "--workspace",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ],
    &["doc", "--workspace", "--no-deps"],
    &["test", "--workspace"],
];

pub fn run() -> Result<()> {
    for arguments in CHECKS {
        let shown = format!("cargo {}", arguments.join(" "));
        eprintln!("$ {shown}");
        let status = Command::new(env!("CARGO"))
            .args(arguments)
            .env("RUSTDOCFLAGS", "-D warnings")
            .status()
            .with_context(|| format!("cannot start `{shown}`"))?;
        ensure!(status.success(), "`{shown}` failed");
    }
    Ok(())
}
