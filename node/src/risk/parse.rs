//! Reading a policy file. Any mistake refuses the whole file, with the rule and the field.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::decision::BUILT_IN;
use super::error::{MAX_CODE_BYTES, RuleError};
use super::rules::{Rule, Rules, When};
use super::vocabulary::Vocabulary;
use crate::toml_text;
use crate::verification::DocumentType;
use crate::verification::{Advice, Mismatch};

/// The largest policy file, in bytes: some thousand rules.
const MAX_RULES_BYTES: usize = 1 << 20;

impl Rules {
    /// Reads a policy from a file.
    ///
    /// # Errors
    /// As [`Rules::parse`], or the file cannot be read.
    pub fn load(path: &Path, words: &Vocabulary) -> Result<Self, RuleError> {
        let read = || {
            let mut text = String::new();
            File::open(path)?.take(MAX_RULES_BYTES as u64 + 1).read_to_string(&mut text)?;
            Ok(text)
        };
        let text = read().map_err(|source| RuleError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, words)
    }

    /// Parses a policy; `words` are the codes that its rules may name.
    ///
    /// # Errors
    /// Names the rule and the field of the first mistake.
    pub fn parse(text: &str, words: &Vocabulary) -> Result<Self, RuleError> {
        if text.len() > MAX_RULES_BYTES {
            return Err(RuleError::TooLarge { found: text.len(), expected: MAX_RULES_BYTES });
        }
        let file: PolicyFile = toml_text::parse(text).map_err(RuleError::Syntax)?;
        if file.version.trim().is_empty() {
            return Err(RuleError::BlankVersion);
        }
        let numbered = (1..).zip(file.rule);
        let rules: Vec<Rule> = numbered.map(|(n, table)| rule(n, table, words)).collect::<Result<_, _>>()?;
        if rules.is_empty() {
            return Err(RuleError::NoRules);
        }
        check_ids(&rules)?;
        Ok(Self { version: file.version, rules })
    }
}

/// The outermost fields. A rule stays a table, so that errors can name it by its id.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PolicyFile {
    version: String,
    #[serde(default)]
    rule: Vec<toml::Table>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Element {
    Name,
    Id,
}

fn rule(position: usize, table: toml::Table, words: &Vocabulary) -> Result<Rule, RuleError> {
    let id = table.get("id").and_then(toml::Value::as_str).filter(|id| is_code(id));
    let name = id.map_or_else(|| format!("#{position}"), str::to_owned);
    let mut fields = Fields { rule: &name, within: "", table };
    let rule = Rule {
        id: fields.code("id")?.ok_or_else(|| fields.missing("id"))?,
        colour: fields.required("colour")?,
        zh: fields.text("zh")?.ok_or_else(|| fields.missing("zh"))?,
        en: fields.text("en")?.ok_or_else(|| fields.missing("en"))?,
        advice: advice(&mut fields)?,
        restriction: fields.code("restriction")?,
        when: when(fields.required("when")?, &name, words)?,
    };
    fields.finish()?;
    Ok(rule)
}

fn advice(fields: &mut Fields<'_>) -> Result<Option<Advice>, RuleError> {
    match (fields.text("advice_zh")?, fields.text("advice_en")?) {
        (Some(zh), Some(en)) => Ok(Some(Advice { zh, en })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(fields.missing("advice_zh")),
        (Some(_), None) => Err(fields.missing("advice_en")),
    }
}

fn when(table: toml::Table, rule: &str, words: &Vocabulary) -> Result<When, RuleError> {
    let mut fields = Fields { rule, within: "when.", table };
    let when = When {
        result: fields.list("result")?,
        mismatch_any: fields.list("mismatch_any")?.as_deref().map(elements),
        mismatch_exactly: fields.list("mismatch_exactly")?.as_deref().map(elements),
        tags_any: tags(&mut fields, words)?,
        attributes: attributes(&mut fields, words)?,
        missing_source: fields.optional("missing_source")?,
        score_band: fields.codes("score_band")?,
        score_missing: fields.optional("score_missing")?,
        customer_type: fields.codes("customer_type")?,
        document_type: document_types(&mut fields)?,
    };
    fields.finish()?;
    if when == When::default() {
        return Err(RuleError::EmptyField { rule: rule.to_owned(), field: "when".to_owned() });
    }
    Ok(when)
}

fn elements(list: &[Element]) -> Mismatch {
    Mismatch { name: list.contains(&Element::Name), id: list.contains(&Element::Id) }
}

fn tags(fields: &mut Fields<'_>, words: &Vocabulary) -> Result<Option<BTreeSet<String>>, RuleError> {
    let tags = fields.codes("tags_any")?;
    if let Some(tag) = tags.iter().flatten().find(|tag| !words.tags().contains(*tag)) {
        return Err(fields.unknown_code("tags_any", tag, words.tags().iter().map(String::as_str)));
    }
    Ok(tags)
}

/// Unlike a customer's type these are no codes of the bank's: a call names one of the interface's.
fn document_types(fields: &mut Fields<'_>) -> Result<Option<BTreeSet<String>>, RuleError> {
    let known = DocumentType::ALL.map(DocumentType::as_str);
    let types = fields.codes("document_type")?;
    if let Some(code) = types.iter().flatten().find(|code| !known.contains(&code.as_str())) {
        return Err(fields.unknown_code("document_type", code, known.into_iter()));
    }
    Ok(types)
}

fn attributes(
    fields: &mut Fields<'_>,
    words: &Vocabulary,
) -> Result<BTreeMap<String, BTreeSet<String>>, RuleError> {
    let Some(table) = fields.optional::<toml::Table>("attributes")? else { return Ok(BTreeMap::new()) };
    if table.is_empty() {
        return Err(fields.empty("attributes"));
    }
    let names: Vec<String> = table.keys().cloned().collect();
    let mut fields = Fields { rule: fields.rule, within: "when.attributes.", table };
    names.into_iter().map(|name| Ok((name.clone(), attribute(&mut fields, &name, words)?))).collect()
}

fn attribute(fields: &mut Fields<'_>, name: &str, words: &Vocabulary) -> Result<BTreeSet<String>, RuleError> {
    let known = words.codes(name).ok_or_else(|| fields.unknown_code(name, name, words.attributes()))?;
    let codes = fields.codes(name)?.ok_or_else(|| fields.missing(name))?;
    if let Some(code) = codes.difference(known).next() {
        return Err(fields.unknown_code(name, code, known.iter().map(String::as_str)));
    }
    Ok(codes)
}

fn check_ids(rules: &[Rule]) -> Result<(), RuleError> {
    let mut ids = BTreeSet::new();
    for Rule { id, .. } in rules {
        if BUILT_IN.contains(&id.as_str()) {
            return Err(RuleError::ReservedId { rule: id.clone() });
        }
        if !ids.insert(id) {
            return Err(RuleError::DuplicateId { rule: id.clone() });
        }
    }
    Ok(())
}

fn is_code(text: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=MAX_CODE_BYTES).contains(&text.len()) && text.bytes().all(allowed)
}

/// The fields of one table that are not read yet.
struct Fields<'a> {
    rule: &'a str,
    /// Where the table stands within the rule: empty, or a path that ends in a dot.
    within: &'static str,
    table: toml::Table,
}

impl Fields<'_> {
    fn optional<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<T>, RuleError> {
        let value = self.table.remove(field).map(toml::Value::try_into).transpose();
        value.map_err(|reason| RuleError::Malformed {
            rule: self.rule(),
            field: self.path(field),
            reason: Box::new(reason),
        })
    }

    fn required<T: DeserializeOwned>(&mut self, field: &str) -> Result<T, RuleError> {
        self.optional(field)?.ok_or_else(|| self.missing(field))
    }

    fn text(&mut self, field: &str) -> Result<Option<String>, RuleError> {
        let text: Option<String> = self.optional(field)?;
        if text.as_deref().is_some_and(|text| text.trim().is_empty()) {
            return Err(self.empty(field));
        }
        Ok(text)
    }

    fn code(&mut self, field: &str) -> Result<Option<String>, RuleError> {
        let code = self.text(field)?;
        if code.as_deref().is_some_and(|code| !is_code(code)) {
            return Err(RuleError::NotACode { rule: self.rule(), field: self.path(field) });
        }
        Ok(code)
    }

    fn list<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<Vec<T>>, RuleError> {
        let list: Option<Vec<T>> = self.optional(field)?;
        if list.as_ref().is_some_and(Vec::is_empty) {
            return Err(self.empty(field));
        }
        Ok(list)
    }

    /// A list of texts of which none is blank.
    fn codes(&mut self, field: &str) -> Result<Option<BTreeSet<String>>, RuleError> {
        let list: Option<Vec<String>> = self.list(field)?;
        if list.iter().flatten().any(|code| code.trim().is_empty()) {
            return Err(self.empty(field));
        }
        Ok(list.map(BTreeSet::from_iter))
    }

    fn finish(self) -> Result<(), RuleError> {
        match self.table.keys().next() {
            Some(field) => Err(RuleError::UnknownField { rule: self.rule(), field: self.path(field) }),
            None => Ok(()),
        }
    }

    fn missing(&self, field: &str) -> RuleError {
        RuleError::MissingField { rule: self.rule(), field: self.path(field) }
    }

    fn empty(&self, field: &str) -> RuleError {
        RuleError::EmptyField { rule: self.rule(), field: self.path(field) }
    }

    fn unknown_code<'a>(
        &self,
        field: &str,
        found: &str,
        expected: impl Iterator<Item = &'a str>,
    ) -> RuleError {
        let expected = expected.collect::<Vec<_>>().join(", ");
        RuleError::UnknownCode {
            rule: self.rule(),
            field: self.path(field),
            found: found.to_owned(),
            expected,
        }
    }

    fn rule(&self) -> String {
        self.rule.to_owned()
    }

    fn path(&self, field: &str) -> String {
        format!("{}{field}", self.within)
    }
}

#[cfg(test)]
mod tests;
