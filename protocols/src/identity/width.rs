//! Full-width forms, and the bounded, wiped working copy that number fields are parsed from.

use zeroize::Zeroizing;

use crate::limits::MAX_IDENTITY_FIELD_BYTES;

/// Folds U+FF01 to U+FF5E to ASCII and leaves every other character alone.
pub(super) fn narrow(c: char) -> char {
    match c {
        '\u{FF01}'..='\u{FF5E}' => {
            char::from_u32(u32::from(c) - 0xFEE0).expect("the full-width block mirrors ASCII")
        }
        _ => c,
    }
}

/// White space that may stand around or between digits; tabs and line ends are faults of the file, not of
/// the number.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() && !c.is_control()
}

/// A number field, folded to narrow forms, without the characters that `dropped` names. `None` when the
/// field is larger than any field may be, before anything is allocated.
pub(super) fn narrowed(input: &str, dropped: impl Fn(char) -> bool) -> Option<Zeroizing<String>> {
    if input.len() > MAX_IDENTITY_FIELD_BYTES {
        return None;
    }
    // The result is never longer than the input, so it never moves and leaves no copy behind.
    let mut text = Zeroizing::new(String::with_capacity(input.len()));
    text.extend(input.chars().map(narrow).filter(|c| !dropped(*c)));
    Some(text)
}

/// White space and hyphens, as people group digits with them.
pub(super) fn is_separator(c: char) -> bool {
    is_space(c) || matches!(c, '-' | '\u{2010}' | '\u{2011}')
}
