//! A configuration in RON: what is read can be written, and read back.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbmpo_experiments::preset;

fuzz_target!(|text: &str| {
    let Ok(config) = preset::read(text, "fuzz.ron") else {
        return;
    };
    let written = config.to_ron().unwrap();
    assert_eq!(preset::read(&written, "written.ron").unwrap(), config);
});
