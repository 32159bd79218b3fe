//! Configurations, plans and rules as TOML: what is wrong with a text, and where, without the text itself.
//!
//! The library's error shows the line that it does not understand. Who names a file of customers where a plan is due
//! would find one of them in the error, and in whatever keeps it.

use serde::de::DeserializeOwned;

/// Parses a text.
///
/// # Errors
/// Line, column (both from 1, in characters) and reason.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    toml::from_str(text).map_err(|error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        match before {
            Some(before) => {
                let line = before.matches('\n').count() + 1;
                let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
                format!("line {line}, column {column}: {}", error.message())
            }
            None => error.message().to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_place_and_nothing_of_the_line() {
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
