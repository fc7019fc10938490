//! POSIX extended regular expressions, regex(7), by the C library: what crun takes for
//! `--regex`, bracket expressions and all.

use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;

use crate::error::{Error, Result};

/// A compiled expression.
pub struct Pattern(libc::regex_t);

impl Pattern {
    /// Compiles `text`.
    pub fn new(text: &str) -> Result<Pattern> {
        let source = CString::new(text)
            .map_err(|_| Error::invalid("a regular expression holds no NUL byte"))?;
        let mut compiled = MaybeUninit::uninit();
        let flags = libc::REG_EXTENDED | libc::REG_NOSUB;
        // SAFETY: the expression is a C string, and regcomp(3) writes to memory of its type.
        let code = unsafe { libc::regcomp(compiled.as_mut_ptr(), source.as_ptr(), flags) };
        if code != 0 {
            return Err(Error::invalid(format!(
                "regcomp({text:?}): {}",
                words(code)
            )));
        }
        // SAFETY: regcomp(3) has returned success, so the value is whole.
        Ok(Pattern(unsafe { compiled.assume_init() }))
    }

    /// Whether it is found anywhere in `text`.
    pub fn is_in(&self, text: &CStr) -> bool {
        let none = std::ptr::null_mut();
        // SAFETY: a compiled expression, a C string, and room for no submatch (REG_NOSUB).
        unsafe { libc::regexec(&self.0, text.as_ptr(), 0, none, 0) == 0 }
    }
}

impl Drop for Pattern {
    fn drop(&mut self) {
        // SAFETY: compiled once, freed once.
        unsafe { libc::regfree(&mut self.0) };
    }
}

/// What regerror(3) says of a failure of regcomp(3).
fn words(code: i32) -> String {
    let mut buffer = [0u8; 128];
    let none = std::ptr::null();
    // SAFETY: the buffer's own length; without an expression the words are of the code alone.
    unsafe { libc::regerror(code, none, buffer.as_mut_ptr().cast(), buffer.len()) };
    CStr::from_bytes_until_nul(&buffer)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_found_anywhere_unless_it_is_anchored() {
        for (pattern, text, found) in [
            ("b", c"abc", true),
            ("^b", c"abc", false),
            ("^a.c$", c"abc", true),
            ("^(web|db)-[0-9]+$", c"db-12", true),
            ("^(web|db)-[[:digit:]]{2}$", c"web-1", false),
            ("", c"anything", true),
        ] {
            let compiled = Pattern::new(pattern).unwrap();
            assert_eq!(compiled.is_in(text), found, "{pattern} in {text:?}");
        }
    }

    #[test]
    fn a_broken_one_is_named_with_its_fault() {
        let e = Pattern::new("a(b").err().unwrap().to_string();
        assert_eq!(e, r#"regcomp("a(b"): Unmatched ( or \("#);
    }
}
