//! Standard output that may be closed early: `highwater schema list | head` is no error.

use std::io::Write;

/// Writes a line; when nobody reads any more, the program has done what was asked and ends.
pub(crate) fn line(text: std::fmt::Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if out.write_fmt(text).and_then(|()| out.write_all(b"\n")).is_err() {
        std::process::exit(0);
    }
}

/// `println!` that does not panic when the reader has gone.
macro_rules! out {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}
pub(crate) use out;
