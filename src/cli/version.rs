//! `rt --version`: three lines, each of which some engine takes apart.
//!
//! Runs in: parent.

pub const NUMBER: &str = env!("CARGO_PKG_VERSION");

/// The commit that a release was built from, given by whoever builds it.
pub const COMMIT: &str = match option_env!("RT_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};

/// The newest version of the specification that this version knows.
pub const SPECIFICATION: &str = "1.3.0";

/// Docker wants `NAME version NUMBER` and `commit: ID`. go-runc wants exactly three lines, each
/// with one separator, and takes the numbers only from a line that begins with `runc`; it
/// tolerates any other name, crun's too.
pub fn text() -> String {
    format!("rt version {NUMBER}\ncommit: {COMMIT}\nspec: {SPECIFICATION}\n")
}
