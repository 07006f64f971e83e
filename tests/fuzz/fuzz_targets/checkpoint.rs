//! A checkpoint: its manifest, also with a digest that is right, and its state.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbmpo_core::{State, Trajectories};
use mbmpo_experiments::checkpoint::{Digest, Manifest, decode, encode};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let file = Path::new("fuzz");
    assert!(Manifest::from_bytes(bytes, file).is_err() || bytes.len() > 64);
    let line: Vec<u8> = bytes.iter().copied().filter(|&byte| byte != b'\n').collect();
    let digest = Digest::of(&line).blake3;
    let whole = [&line, &b"\n"[..], digest.as_bytes(), b"\n"].concat();
    if let Ok(manifest) = Manifest::from_bytes(&whole, file) {
        let again = Manifest::from_bytes(&manifest.to_bytes().unwrap(), file).unwrap();
        assert_eq!(again, manifest);
    }
    if let Ok(state) = decode(bytes, file) {
        // NaN differs from itself, its bytes do not
        let written = encode(&state).unwrap();
        assert!(encode(&decode(&written, file).unwrap()).unwrap() == written);
        let mut paths = Trajectories::new(2, 1);
        if state.restore(&mut paths).is_ok() {
            let returns = paths.returns();
            assert_eq!(returns.len(), paths.lengths.len());
            State::of(&mut paths).unwrap();
        }
    }
});
