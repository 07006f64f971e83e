//! `cargo xtask ci`: what must pass before a change goes in.

use crate::torture;
use anyhow::{Context, Result, ensure};
use std::process::Command;

const CHECKS: [&[&str]; 5] = [
    &["fmt", "--all", "--check"],
    &[
        "deny", "check", "-D", "warnings", "licenses", "bans", "sources",
    ],
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
    ensure!(
        cargo(&["deny", "--version"])?,
        "cargo-deny is missing; install it with `cargo install cargo-deny --locked --version 0.20.2`"
    );
    for arguments in CHECKS {
        require(arguments)?;
    }
    torture::run(&torture::Arguments { kills: 20, seed: 1 })?;
    // last, and only where github.com can be reached: its result changes while the code does not
    if cargo(&["deny", "fetch", "db"])? {
        require(&["deny", "--offline", "check", "advisories"])
    } else {
        eprintln!("the database of advisories cannot be downloaded: advisories were not checked");
        Ok(())
    }
}

fn require(arguments: &[&str]) -> Result<()> {
    ensure!(cargo(arguments)?, "`cargo {}` failed", arguments.join(" "));
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<bool> {
    let shown = format!("cargo {}", arguments.join(" "));
    eprintln!("$ {shown}");
    let status = Command::new(env!("CARGO"))
        .args(arguments)
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .with_context(|| format!("cannot start `{shown}`"))?;
    Ok(status.success())
}
