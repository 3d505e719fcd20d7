//! The notation of Prometheus' PromQL test scripts: `load`, `clear` and `eval` blocks, and series with
//! expanding values (`1+2x5`, `_`, `stale`). Native histograms are recognised and skipped.

use series::{Labels, LabelsBuilder, METRIC_NAME, STALE_NAN};

#[derive(Debug)]
pub(crate) enum Command {
    Clear,
    Load {
        step: i64,
        series: Vec<Line>,
        histograms: Vec<String>,
    },
    Eval(Eval),
}

#[derive(Debug)]
pub(crate) struct Eval {
    pub(crate) line: usize,
    pub(crate) query: String,
    pub(crate) start: i64,
    /// End and step of a range query.
    pub(crate) range: Option<(i64, i64)>,
    pub(crate) fails: bool,
    /// A part of the message, or nothing.
    pub(crate) message: Option<String>,
    pub(crate) ordered: bool,
    pub(crate) text: Option<String>,
    /// Times of an expected range vector: start, end, step.
    pub(crate) vector_times: Option<[i64; 3]>,
    pub(crate) expected: Vec<Line>,
    /// The number expected of a scalar.
    pub(crate) scalar: Option<f64>,
    pub(crate) has_histograms: bool,
}

/// A series and its values; `None` is a gap.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) labels: Labels,
    pub(crate) values: Vec<Option<f64>>,
}

pub(crate) fn parse(text: &str) -> Result<Vec<Command>, String> {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut commands = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let head = lines[at];
        let number = at + 1;
        at += 1;
        if head.is_empty() {
            continue;
        }
        let mut body = Vec::new();
        while at < lines.len() && !lines[at].is_empty() && !starts_command(lines[at]) {
            body.push(lines[at]);
            at += 1;
        }
        let command = command(head, number, &body);
        commands.push(command.map_err(|reason| format!("line {number}: {reason}"))?);
    }
    Ok(commands)
}

fn starts_command(line: &str) -> bool {
    line == "clear" || line.starts_with("load") || line.starts_with("eval ")
}

fn command(head: &str, line: usize, body: &[&str]) -> Result<Command, String> {
    let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
    match word {
        "clear" => Ok(Command::Clear),
        "load" | "load_with_nhcb" => load(rest, word != "load", body),
        _ if word.starts_with("eval") => eval(word, rest, line, body).map(Command::Eval),
        _ => Err(format!("'{word}' is no command")),
    }
}

fn load(step: &str, as_histograms: bool, body: &[&str]) -> Result<Command, String> {
    let mut series = Vec::new();
    let mut histograms = Vec::new();
    for line in body {
        if line.contains("{{") {
            histograms.extend(Some(first_word(line)).filter(|word| !word.is_empty()));
        } else {
            series.push(series_line(line)?);
        }
    }
    if as_histograms {
        // Each classic histogram becomes a native one of its base name as well.
        let classic = series
            .iter()
            .filter_map(|line| line.labels.metric_name()?.strip_suffix("_bucket"));
        histograms.extend(classic.map(str::to_owned));
    }
    let step = duration(step)?;
    Ok(Command::Load {
        step,
        series,
        histograms,
    })
}

fn first_word(line: &str) -> String {
    line.split(|c: char| c == '{' || c.is_whitespace())
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn eval(word: &str, rest: &str, line: usize, body: &[&str]) -> Result<Eval, String> {
    let mut words = rest.splitn(4, ' ');
    let (kind, _, start) = (words.next(), words.next(), words.next());
    let start = duration(start.ok_or("no time")?)?;
    let mut query = words.next().ok_or("no query")?.trim();
    let mut range = None;
    if kind == Some("range") {
        let parts: Vec<&str> = query.splitn(5, ' ').collect();
        let ["to", end, "step", step, expr] = parts.as_slice() else {
            return Err(format!("'{query}' is no range"));
        };
        range = Some((duration(end)?, duration(step)?));
        query = expr;
    }
    let mut eval = Eval {
        line,
        query: query.to_owned(),
        start,
        range,
        fails: word == "eval_fail",
        message: None,
        ordered: word == "eval_ordered",
        text: None,
        vector_times: None,
        expected: Vec::new(),
        scalar: None,
        has_histograms: false,
    };
    for line in body {
        if let Some(what) = line.strip_prefix("expect ") {
            expectation(what, &mut eval)?;
        } else if let Some(message) = line.strip_prefix("expected_fail_message ") {
            eval.message = Some(message.to_owned());
        } else if line.starts_with("expected_fail_regexp ") {
            // The deprecated form; the failure itself is enough.
        } else if line.contains("{{") {
            eval.has_histograms = true;
        } else if let Ok(number) = number(line) {
            eval.scalar = Some(number);
        } else {
            eval.expected.push(series_line(line)?);
        }
    }
    Ok(eval)
}

fn expectation(what: &str, eval: &mut Eval) -> Result<(), String> {
    if let Some(rest) = what.strip_prefix("fail") {
        eval.fails = true;
        eval.message = rest
            .trim()
            .strip_prefix("msg:")
            .map(|m| m.trim().to_owned());
    } else if what == "ordered" {
        eval.ordered = true;
    } else if let Some(text) = what.strip_prefix("string ") {
        eval.text = Some(unquote(text)?);
    } else if let Some(times) = what.strip_prefix("range vector from ") {
        let parts: Vec<&str> = times.split(' ').collect();
        let [start, "to", end, "step", step] = parts.as_slice() else {
            return Err(format!("'{times}' are no times"));
        };
        eval.vector_times = Some([duration(start)?, duration(end)?, duration(step)?]);
    }
    // Annotations (`warn`, `info`, and their opposites) do not exist in Lantern.
    Ok(())
}

fn unquote(text: &str) -> Result<String, String> {
    let inner = text.trim();
    if let Some(raw) = inner.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        return Ok(raw.to_owned());
    }
    let (value, rest) = quoted(inner)?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(format!("'{rest}' behind a text"))
    }
}

/// A text between quotes at the start of `text`, and what comes behind it.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut chars = text.char_indices();
    let quote = chars
        .next()
        .map(|(_, c)| c)
        .filter(|c| matches!(c, '"' | '\''));
    let quote = quote.ok_or_else(|| format!("'{text}' is not between quotes"))?;
    let mut out = String::new();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((out, &text[at + 1..]));
        }
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next().map(|(_, c)| c) {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('x') => {
                let digits: String = chars.by_ref().take(2).map(|(_, c)| c).collect();
                out.push(char::from(
                    u8::from_str_radix(&digits, 16).map_err(|e| e.to_string())?,
                ));
            }
            Some(other) => out.push(other),
            None => break,
        }
    }
    Err(format!("'{text}' is not between quotes"))
}

/// `name{label="value"} values`.
fn series_line(line: &str) -> Result<Line, String> {
    let mut labels = LabelsBuilder::default();
    let end = line
        .find(|c: char| c == '{' || c.is_whitespace())
        .unwrap_or(line.len());
    labels.set(METRIC_NAME, &line[..end]);
    let mut rest = line[end..].trim_start();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside.trim_start();
        loop {
            if let Some(after) = rest.strip_prefix('}') {
                rest = after;
                break;
            }
            let name = if rest.starts_with(['"', '\'']) {
                let (name, after) = quoted(rest)?;
                rest = after.trim_start();
                name
            } else {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                let (name, after) = rest.split_at(end.unwrap_or(rest.len()));
                rest = after.trim_start();
                name.to_owned()
            };
            if let Some(after) = rest.strip_prefix('=') {
                let (value, after) = quoted(after.trim_start())?;
                labels.set(&name, &value);
                rest = after.trim_start();
            } else {
                labels.set(METRIC_NAME, &name);
            }
            rest = rest.strip_prefix(',').unwrap_or(rest).trim_start();
            if rest.is_empty() {
                return Err(format!("'{line}' has labels without end"));
            }
        }
    }
    let mut values = Vec::new();
    for item in rest.split_whitespace() {
        expand(item, &mut values)?;
    }
    Ok(Line {
        labels: labels.build(),
        values,
    })
}

fn expand(item: &str, values: &mut Vec<Option<f64>>) -> Result<(), String> {
    if let Some(count) = item.strip_prefix('_') {
        let count = match count.strip_prefix('x') {
            Some(count) => count.parse::<usize>().map_err(|e| e.to_string())?,
            None => 1,
        };
        values.extend(std::iter::repeat_n(None, count));
        return Ok(());
    }
    if item == "stale" {
        values.push(Some(STALE_NAN));
        return Ok(());
    }
    let Some((formula, count)) = item.rsplit_once('x') else {
        values.push(Some(number(item)?));
        return Ok(());
    };
    let count: usize = count
        .parse()
        .map_err(|_| format!("'{item}' is no series"))?;
    // The sign between start and step, not one at the start or of an exponent.
    let sign = formula
        .char_indices()
        .skip(1)
        .find(|(at, c)| matches!(c, '+' | '-') && !formula[..*at].ends_with(['e', 'E']));
    let (start, step) = match sign {
        Some((at, _)) => (number(&formula[..at])?, number(&formula[at..])?),
        None => (number(formula)?, 0.0),
    };
    let mut value = start;
    for _ in 0..=count {
        values.push(Some(value));
        value += step;
    }
    Ok(())
}

fn number(text: &str) -> Result<f64, String> {
    let bare = text.trim_start_matches(['+', '-']);
    if let Some(hex) = bare.strip_prefix("0x") {
        let value = i64::from_str_radix(hex, 16).map_err(|e| e.to_string())? as f64;
        return Ok(if text.starts_with('-') { -value } else { value });
    }
    text.parse().map_err(|_| format!("'{text}' is no number"))
}

/// Milliseconds of `1h30m`, `-5s`, `10` (seconds), `1.5`.
pub(crate) fn duration(text: &str) -> Result<i64, String> {
    let fail = || format!("'{text}' is no duration");
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = format!("{:.0}", seconds * 1_000.0);
        return millis.parse().map_err(|_| format!("'{text}' is too long"));
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let mut total = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?;
        let count: i64 = rest[..digits].parse().map_err(|_| fail())?;
        rest = &rest[digits..];
        let letters = rest
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(rest.len());
        total += count
            * match &rest[..letters] {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                "y" => 31_536_000_000,
                _ => return Err(fail()),
            };
        rest = &rest[letters..];
    }
    Ok(sign * total)
}
