//! The mbmpo command line.
fn main() {}
