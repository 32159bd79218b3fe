//! Names.

use icu_casemap::{CaseMapper, CaseMapperBorrowed};
use icu_normalizer::{ComposingNormalizer, ComposingNormalizerBorrowed};
use icu_properties::props::{DefaultIgnorableCodePoint, Script, WhiteSpace};
use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed, CodePointSetData, CodePointSetDataBorrowed,
};
use zeroize::Zeroizing;

use super::error::IdentityError;
use crate::limits::MAX_IDENTITY_FIELD_BYTES;
use crate::secret::Secret;

/// UAX #15, section 9: one character's NFKC takes at most this many times its bytes in UTF-8.
const NFKC_GROWTH: usize = 11;

static NFKC: ComposingNormalizerBorrowed<'static> = ComposingNormalizer::new_nfkc();
static CASE: CaseMapperBorrowed<'static> = CaseMapper::new();
static SCRIPT: CodePointMapDataBorrowed<'static, Script> = CodePointMapData::<Script>::new();
static IGNORABLE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<DefaultIgnorableCodePoint>();
static WHITE_SPACE: CodePointSetDataBorrowed<'static> = CodePointSetData::new::<WhiteSpace>();

/// A name in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(Secret<String>);

impl Name {
    /// Applies, in this order: the middle dots U+2022, U+2027, U+30FB, U+FF0E and U+FF65 fold to U+00B7;
    /// NFKC; default-ignorable characters go; white space is trimmed, and inside the name it goes when the
    /// name has a character of script Han, else each run becomes one space; full case folding without the
    /// Turkic rules; NFKC again.
    ///
    /// Nothing folds traditional to simplified characters or transliterates.
    ///
    /// # Errors
    /// [`IdentityError::NameLength`] above [`MAX_IDENTITY_FIELD_BYTES`], as given or canonical;
    /// [`IdentityError::NameCharacter`] for a control character (tabs and line ends too) or U+FFFD;
    /// [`IdentityError::NameEmpty`] when nothing is left.
    pub fn parse(input: &str) -> Result<Self, IdentityError> {
        within_limit(input)?;
        if is_plain_han(input) {
            return Ok(Self(Secret::new(input.to_owned())));
        }
        if input.chars().any(|c| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
            return Err(IdentityError::NameCharacter);
        }
        let name = canonical(input);
        within_limit(&name)?;
        if name.is_empty() {
            return Err(IdentityError::NameEmpty);
        }
        // Copied to its own size: the working copy is many times larger.
        Ok(Self(Secret::new(String::clone(&name))))
    }

    /// The canonical name.
    pub fn as_str(&self) -> &str {
        self.0.expose()
    }
}

fn within_limit(text: &str) -> Result<(), IdentityError> {
    if text.len() > MAX_IDENTITY_FIELD_BYTES {
        return Err(IdentityError::NameLength { found: text.len(), expected: MAX_IDENTITY_FIELD_BYTES });
    }
    Ok(())
}

/// Whether a name is in the block U+4E00 to U+9FFF only, which no rule changes: nearly every name in a
/// carrier's file, so that a build does not pay for the general path.
fn is_plain_han(input: &str) -> bool {
    !input.is_empty() && input.chars().all(|c| ('\u{4E00}'..='\u{9FFF}').contains(&c))
}

/// The general path; right for every input, plain Han included.
fn canonical(input: &str) -> Zeroizing<String> {
    let dotted = dots_folded(input);
    let mut name = nfkc(&dotted);
    name.retain(|c| !IGNORABLE.contains(c));
    let spaced = spaces_settled(&name);
    let folded = Zeroizing::new(CASE.fold_string(&spaced).into_owned());
    nfkc(&folded)
}

fn dots_folded(input: &str) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(input.len()));
    text.extend(input.chars().map(|c| match c {
        '\u{2022}' | '\u{2027}' | '\u{30FB}' | '\u{FF0E}' | '\u{FF65}' => '\u{B7}',
        _ => c,
    }));
    text
}

fn nfkc(text: &str) -> Zeroizing<String> {
    // Never outgrown, so it never moves and leaves no copy behind.
    let mut normal = Zeroizing::new(String::with_capacity(text.len() * NFKC_GROWTH));
    NFKC.normalize_to(text, &mut *normal).expect("writing to a string cannot fail");
    normal
}

fn spaces_settled(text: &str) -> Zeroizing<String> {
    let separator = if text.chars().any(is_han) { "" } else { " " };
    let mut settled = Zeroizing::new(String::with_capacity(text.len()));
    for word in text.split(|c| WHITE_SPACE.contains(c)).filter(|word| !word.is_empty()) {
        if !settled.is_empty() {
            settled.push_str(separator);
        }
        settled.push_str(word);
    }
    settled
}

fn is_han(c: char) -> bool {
    SCRIPT.get(c) == Script::Han
}

#[cfg(test)]
mod tests {
    use super::*;
    use icu_properties::props::{GeneralCategory, GeneralCategoryGroup};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;

    const SEED: u64 = 0x6964_656E_7469_7479;

    #[test]
    fn the_compiled_data_is_of_the_pinned_unicode_version() {
        let category = CodePointMapData::<GeneralCategory>::new();
        let counted = |c: &char| {
            let group = GeneralCategoryGroup::Other.contains(category.get(*c));
            !group || category.get(*c) == GeneralCategory::Format
        };
        // Graphic and format characters of 18.0.0, counted in Python's unicodedata2 18.0.0; 14.0.0 had
        // 144,697 and 17.0.0 had 159,801.
        assert_eq!(super::super::UNICODE_VERSION, "18.0.0");
        assert_eq!(('\0'..=char::MAX).filter(counted).count(), 172_808);
        assert_eq!(category.get('\u{3D000}'), GeneralCategory::OtherLetter, "Seal, new in 18.0.0");
    }

    #[test]
    fn the_fast_path_equals_the_general_path() {
        let mut rng = ChaCha12Rng::seed_from_u64(SEED);
        for _ in 0..20_000 {
            let length = rng.random_range(1..=8);
            let name: String = (0..length).map(|_| rng.random_range('\u{4E00}'..='\u{9FFF}')).collect();
            assert!(is_plain_han(&name));
            assert_eq!(*canonical(&name), name, "seed {SEED:#x}");
        }
        for c in '\u{4E00}'..='\u{9FFF}' {
            assert_eq!(*canonical(&c.to_string()), c.to_string());
        }
    }

    #[test]
    fn every_character_alone_and_inside_a_name_parses_to_itself_once_canonical() {
        // Beyond these, code points are unassigned or private, and inert.
        for c in ('\0'..='\u{3FFFF}').chain('\u{E0000}'..='\u{E0FFF}') {
            for text in [c.to_string(), format!("王{c}A"), format!("a {c}\u{301}")] {
                let Ok(name) = Name::parse(&text) else { continue };
                assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(&name), "U+{:04X}", u32::from(c));
            }
        }
    }
}
