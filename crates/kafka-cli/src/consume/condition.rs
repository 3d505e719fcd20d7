//! A condition on a JSON value: `.amount > 100`, `.items[0].sku == "A-1"`, `.customer.email`.
//!
//! ```text
//! condition = path [ operator literal ]
//! path      = "." [ name ] { "." name | "[" number "]" }      name = letters, digits, _ and -, or "quoted"
//! operator  = "==" | "=" | "!=" | "<" | "<=" | ">" | ">=" | "=~" | "!~"
//! literal   = JSON value | the rest of the text as a string
//! ```
//! A path alone asks whether there is something and it is not null. Without the field nothing fits, not
//! even `!=`. Numbers are compared as numbers (whole ones exactly), text as text; `=~` and `!~` match a
//! regular expression against text, or against a number or boolean as it is written. Values of different
//! kinds are different, and neither is less.

use std::cmp::Ordering;

use regex::Regex;
use serde_json::Value;

/// A condition, ready to be asked.
#[derive(Debug, Clone)]
pub(super) struct Condition {
    path: Vec<Step>,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    Index(usize),
}

#[derive(Debug, Clone)]
enum Test {
    Exists,
    Compare(Comparison, Value),
    Matches(Regex, bool),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Reads a condition; the error says what is wrong with it.
pub(super) fn read(text: &str) -> Result<Condition, String> {
    let mut rest = text.trim();
    let path = path(&mut rest)?;
    rest = rest.trim_start();
    if rest.is_empty() {
        return Ok(Condition {
            path,
            test: Test::Exists,
        });
    }
    // Longer ones first.
    let operators = [
        ("==", Some(Comparison::Equal)),
        ("!=", Some(Comparison::NotEqual)),
        ("<=", Some(Comparison::LessOrEqual)),
        (">=", Some(Comparison::GreaterOrEqual)),
        ("=~", None),
        ("!~", None),
        ("<", Some(Comparison::Less)),
        (">", Some(Comparison::Greater)),
        ("=", Some(Comparison::Equal)),
    ];
    let found = operators
        .iter()
        .find_map(|(sign, what)| Some((*sign, *what, rest.strip_prefix(sign)?)));
    let Some((sign, comparison, literal)) = found else {
        return Err(format!(
            "after the field comes one of == != < <= > >= =~ !~, not '{rest}'"
        ));
    };
    let literal = literal.trim();
    if literal.is_empty() {
        return Err(format!("after {sign} comes a value"));
    }
    let value: Value =
        serde_json::from_str(literal).unwrap_or_else(|_| Value::String(literal.to_owned()));
    let test = if let Some(comparison) = comparison {
        Test::Compare(comparison, value)
    } else {
        let expression = value.as_str().unwrap_or(literal);
        let regex = Regex::new(expression).map_err(|error| error.to_string())?;
        Test::Matches(regex, sign == "=~")
    };
    Ok(Condition { path, test })
}

fn path(rest: &mut &str) -> Result<Vec<Step>, String> {
    let mut path = Vec::new();
    if !rest.starts_with('.') {
        return Err("it begins with a field, e.g. .amount > 100".to_owned());
    }
    loop {
        if let Some(after) = rest.strip_prefix('.') {
            *rest = after;
            if let Some(name) = name(rest)? {
                path.push(Step::Field(name));
            } else if !path.is_empty() {
                return Err("after a dot comes the name of a field".to_owned());
            }
        } else if let Some(after) = rest.strip_prefix('[') {
            let inside = after.split_once(']');
            let number =
                inside.and_then(|(number, after)| Some((number.trim().parse().ok()?, after)));
            let (number, after) = number.ok_or("between [ and ] comes a number, from 0")?;
            path.push(Step::Index(number));
            *rest = after;
        } else {
            return Ok(path);
        }
    }
}

fn name(rest: &mut &str) -> Result<Option<String>, String> {
    if rest.starts_with('"') {
        let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
        let Some(Ok(name)) = strings.next() else {
            return Err("a quoted name has no end".to_owned());
        };
        *rest = &rest[strings.byte_offset()..];
        return Ok(Some(name));
    }
    let part_of_name = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-');
    let end = rest
        .find(|letter| !part_of_name(letter))
        .unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    *rest = after;
    Ok((!name.is_empty()).then(|| name.to_owned()))
}

impl Condition {
    /// Whether `json` fits.
    pub(super) fn fits(&self, json: &Value) -> bool {
        let mut found = json;
        for step in &self.path {
            let next = match step {
                Step::Field(name) => found.get(name.as_str()),
                Step::Index(index) => found.get(*index),
            };
            let Some(next) = next else {
                return false;
            };
            found = next;
        }
        match &self.test {
            Test::Exists => !found.is_null(),
            Test::Compare(comparison, with) => comparison.holds(found, with),
            Test::Matches(regex, wanted) => match found {
                Value::String(text) => regex.is_match(text) == *wanted,
                Value::Number(_) | Value::Bool(_) => regex.is_match(&found.to_string()) == *wanted,
                Value::Null | Value::Array(_) | Value::Object(_) => false,
            },
        }
    }
}

impl Comparison {
    fn holds(self, found: &Value, with: &Value) -> bool {
        let order = compare(found, with);
        match self {
            Self::Equal => order == Some(Ordering::Equal),
            Self::NotEqual => order != Some(Ordering::Equal),
            Self::Less => order == Some(Ordering::Less),
            Self::LessOrEqual => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            Self::Greater => order == Some(Ordering::Greater),
            Self::GreaterOrEqual => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        }
    }
}

fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i128(), b.as_i128()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
        },
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => (a == b).then_some(Ordering::Equal),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ORDER: &str = r#"{
        "amount": 120.5, "id": 9007199254740993, "status": "paid", "paid": true, "note": null,
        "customer": {"e-mail": "a@b.cn", "full name": "Li Lei"}, "items": [{"sku": "A-1"}, {"sku": "B"}]
    }"#;

    fn check(condition: &str, expected: bool) {
        let json = serde_json::from_str(ORDER).unwrap();
        let read = read(condition).unwrap_or_else(|error| panic!("{condition}: {error}"));
        assert_eq!(read.fits(&json), expected, "{condition}");
    }

    #[test]
    fn conditions_as_people_write_them() {
        for (condition, expected) in [
            (".amount > 100", true),
            (".amount>100.5", true),
            (".amount >= 120.5", true),
            (".amount < 100", false),
            (".amount != 3", true),
            (".amount == 120.50", true),
            (".id == 9007199254740993", true),
            (".id == 9007199254740992", false),
            (".status == paid", true),
            (".status = \"paid\"", true),
            (".status != paid", false),
            (".status < q", true),
            (".status =~ ^p.*d$", true),
            (".status !~ ^o", true),
            (".amount =~ 120", true),
            (".paid == true", true),
            (".paid == \"true\"", false),
            (".note == null", true),
            (".note", false),
            (".paid", true),
            (".customer.e-mail =~ @b", true),
            (".customer.\"full name\" == Li Lei", true),
            (".items[1].sku == B", true),
            (".items[7].sku == B", false),
            (".items[7].sku != B", false),
            (".missing != 3", false),
            (".missing", false),
            (".amount > many", false),
            (".amount != many", true),
            (".", true),
        ] {
            check(condition, expected);
        }
    }

    proptest! {
        #[test]
        fn whatever_is_typed_is_a_condition_or_says_why(text in "\\.?[a-c.\\[\\]\"0-9=<>!~ \\PC]{0,16}") {
            if let Ok(condition) = read(&text) {
                condition.fits(&serde_json::json!({"a": [1, {"b": "c"}]}));
            }
        }
    }

    #[test]
    fn what_is_no_condition_says_why() {
        let said = |text: &str| read(text).unwrap_err();
        assert_eq!(
            said("amount > 1"),
            "it begins with a field, e.g. .amount > 100"
        );
        assert_eq!(
            said(".amount is 1"),
            "after the field comes one of == != < <= > >= =~ !~, not 'is 1'"
        );
        assert_eq!(said(".amount >"), "after > comes a value");
        assert_eq!(said(".a..b"), "after a dot comes the name of a field");
        assert_eq!(said(".a[x]"), "between [ and ] comes a number, from 0");
        assert_eq!(said(".\"a"), "a quoted name has no end");
        assert!(said(".a =~ (").contains("unclosed group"));
    }
}
