//! Configurations, plans and rules as TOML: what is wrong with a text, and where, without the text itself.
//!
//! The library's error shows the line that it does not understand. Who names a file of customers where a plan is due
//! would find one of them in the error, and in whatever keeps it.

use serde::de::DeserializeOwned;

/// Parses a text.
///
/// # Errors
/// Line and column (both from 1, in characters), the field, and the reason, which has the value where that is of a wrong type.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        match before {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                let begun = before.rsplit('\n').next().unwrap_or_default();
                let (column, field) = (begun.chars().count() + 1, field(begun));
                format!("line {line}, column {column}{field}: {}", error.message())
            }
            None => error.message().to_owned(),
        }
    })
}

/// The field whose value a line has begun, if its name is made of what names of fields are: letters of ASCII first.
fn field(begun: &str) -> String {
    let is_name = |name: &str| {
        let rest = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.".contains(&byte);
        name.starts_with(|first: char| first.is_ascii_lowercase()) && name.bytes().all(rest)
    };
    match begun.split_once('=').map(|(name, _)| name.trim()) {
        Some(name) if is_name(name) => format!(", field {name}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_error_has_its_place_and_field_and_nothing_else_of_the_line() {
        let typed = |text: &str| parse::<BTreeMap<String, u8>>(text).unwrap_err();
        assert!(typed("a = 1\nfile = true\n").starts_with("line 2, column 8, field file: invalid type"));
        assert!(!typed("欧阳 = 'x'\n").contains("欧阳"));
        let parse = |text: &str| parse::<toml::Table>(text).unwrap_err();
        let error = parse("# 客户\na = 1\n号 13800138017,欧阳澄观\n");
        assert!(error.starts_with("line 3, column "), "{error}");
        for text in
            ["13800138017,欧阳澄观\n", "姓名,手机号\n欧阳澄观,13800138017\n", "a = 13800138017欧阳澄观"]
        {
            let error = parse(text);
            assert!(!error.contains("欧阳") && !error.contains("13800138017"), "{error}");
        }
    }
}
