//! Short texts with values in them: `{used:bytes} / {total:bytes}`.
//!
//! `{name}` is a value, `{a|b}` the first of several that is there, `{name:format}` a number written in
//! a unit ([`Unit::ALL`]) or in `cents` (hundredths of a euro). `{{name}}` means the same, so that legends
//! copied from elsewhere work; `\{` is a brace. Invariant: rendering never fails; what is missing is an
//! en dash. Not here: what names mean; the caller resolves them.

use std::borrow::Cow;

use crate::unit::Unit;

/// A value for a template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Field<'a> {
    Text(Cow<'a, str>),
    Number(f64),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Field {
        names: Vec<String>,
        format: Option<Format>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Format {
    Unit(Unit),
    Cents,
}

impl Template {
    /// Reads a template; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '\\']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some(escaped) = from.strip_prefix('\\') {
                let taken = escaped
                    .chars()
                    .next()
                    .filter(|next| matches!(next, '{' | '}' | '\\'));
                plain.push(taken.unwrap_or('\\'));
                rest = escaped
                    .get(taken.map_or(0, char::len_utf8)..)
                    .unwrap_or_default();
                continue;
            }
            let close = if from.starts_with("{{") { "}}" } else { "}" };
            let inner = from.get(close.len()..).unwrap_or_default();
            let Some((field, behind)) = inner.split_once(close) else {
                return Err(format!("'{from}' has no closing '{close}'"));
            };
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(field_part(field)?);
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The names it asks for.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.parts
            .iter()
            .flat_map(|part| match part {
                Part::Text(_) => &[][..],
                Part::Field { names, .. } => names.as_slice(),
            })
            .map(String::as_str)
    }

    /// Appends the text to `out`. `default` is how numbers without a format are written.
    pub(crate) fn render<'a>(
        &self,
        out: &mut String,
        default: Unit,
        mut resolve: impl FnMut(&str) -> Option<Field<'a>>,
    ) {
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { names, format } => {
                    match (names.iter().find_map(|name| resolve(name)), format) {
                        (None, _) => out.push('–'),
                        (Some(Field::Text(text)), None) => out.push_str(&text),
                        (Some(Field::Number(number)), None) => default.write(out, number),
                        (Some(field), Some(format)) => format.write(out, &field),
                    }
                }
            }
        }
    }
}

impl Format {
    fn named(name: &str) -> Result<Self, String> {
        if name == "cents" {
            return Ok(Self::Cents);
        }
        let known = Unit::ALL.iter().find(|(known, _)| *known == name);
        known.map(|(_, unit)| Self::Unit(*unit)).ok_or_else(|| {
            let known = Unit::ALL.map(|(known, _)| known).join(", ");
            format!("'{name}' is no format: it is one of {known}, cents")
        })
    }

    fn write(self, out: &mut String, field: &Field<'_>) {
        let number = match field {
            Field::Number(number) => Some(*number),
            Field::Text(text) => text.trim().parse().ok(),
        };
        match (self, number, field) {
            (Self::Unit(unit), Some(number), _) => unit.write(out, number),
            (Self::Cents, Some(number), _) => Unit::Currency.write(out, number / 100.0),
            (_, None, Field::Text(text)) => out.push_str(text),
            (_, None, Field::Number(_)) => out.push('–'),
        }
    }
}

fn field_part(field: &str) -> Result<Part, String> {
    let (names, format) = match field.split_once(':') {
        Some((names, format)) => (names, Some(format.trim())),
        None => (field, None),
    };
    let names: Vec<_> = names
        .split('|')
        .map(|name| name.trim().to_owned())
        .collect();
    if names.iter().any(String::is_empty) {
        return Err(format!("'{{{field}}}' names no value"));
    }
    let format = format.map(Format::named).transpose()?;
    Ok(Part::Field { names, format })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(text: &str) -> String {
        let template = match Template::parse(text) {
            Ok(template) => template,
            Err(reason) => return format!("error: {reason}"),
        };
        let mut out = String::new();
        template.render(&mut out, Unit::Percent, |name| match name {
            "value" => Some(Field::Number(42.5)),
            "used" => Some(Field::Number(1_610_612_736.0)),
            "amount" => Some(Field::Text("1234".into())),
            "device" => Some(Field::Text("sda".into())),
            _ => None,
        });
        out
    }

    #[test]
    fn templates_by_example() {
        let check = |text: &str, expected: &str| assert_eq!(render(text), expected, "{text}");
        check("", "");
        check("plain", "plain");
        check("{value} of {used:bytes}", "42.5 % of 1.5 GiB");
        check("{{device}}/{{ device }}", "sda/sda");
        check("{nothing}", "–");
        check("{nothing|device}!", "sda!");
        check("{amount:cents}", "€ 12.34");
        check("{device:bytes}", "sda");
        check(r"\{value\} \ 走", r"{value} \ 走");
        check("{value", "error: '{value' has no closing '}'");
        check("{{value}", "error: '{{value}' has no closing '}}'");
        check("{}", "error: '{}' names no value");
        check(
            "{value:parsecs}",
            "error: 'parsecs' is no format: it is one of short, percent, bytes, bytes_per_second, seconds, per_second, currency, cents",
        );
    }
}
