//! What a metric is called in Prometheus: its words, its unit, `total` or `ratio`, joined by `_`; and its labels.
//!
//! As Prometheus' `UnderscoreEscapingWithSuffixes` has it, but for keys that begin with two underscores, which get a prefix like
//! those that begin with one.

/// What the unit and the kind of a metric add to its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `ratio`, when the unit is 1.
    Gauge,
    /// `total`.
    Counter,
    /// Nothing.
    Other,
}

/// Units as UCUM writes them, and as Prometheus spells them out, the odd ones too: boards ask for those names.
const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
    ("1", ""),
];

/// What comes behind the slash.
const PER: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// The name in Prometheus; empty when `name` has no letter and no digit.
pub(crate) fn metric(name: &str, unit: &str, kind: Kind) -> String {
    let mut words: Vec<String> = words(name).map(str::to_owned).collect();
    if words.is_empty() {
        return String::new();
    }
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let (main, per) = (spelled(main, UNITS), spelled(per, PER));
    if !main.is_empty() && !words.contains(&main) {
        // An underscore at the end stays when nothing follows, as in Prometheus.
        let main = if per.is_empty() {
            &*main
        } else {
            main.trim_end_matches('_')
        };
        words.push(main.to_owned());
    }
    if !per.is_empty() {
        words.push(format!("per_{}", per.trim_end_matches('_')));
    }
    match kind {
        Kind::Counter => to_the_end(&mut words, "total"),
        Kind::Gauge if unit == "1" => to_the_end(&mut words, "ratio"),
        Kind::Gauge | Kind::Other => (),
    }
    let mut name = words.join("_");
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// What may stand in a metric's name, without what separates it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c| !is_plain(c)).filter(|word| !word.is_empty())
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == ':'
}

/// A unit as one word, which may have underscores inside and at its end; none for annotations such as `{request}`.
fn spelled(unit: &str, known: &[(&str, &str)]) -> String {
    let unit = unit.trim();
    if unit.contains(['{', '}']) {
        return String::new();
    }
    let found = known.iter().find(|(short, _)| *short == unit);
    let unit = found.map_or(unit, |(_, long)| long);
    let end = if unit.ends_with(is_plain) { "" } else { "_" };
    let words: Vec<_> = words(unit).collect();
    if words.is_empty() {
        return String::new();
    }
    words.join("_") + end
}

fn to_the_end(words: &mut Vec<String>, word: &str) {
    words.retain(|found| found != word);
    words.push(word.to_owned());
}

/// What is put before the name of a label that could not stand alone.
pub(crate) const LABEL_PREFIX: &str = "key_";

/// The name of a label: letters, digits and underscores, and neither a digit nor an underscore first, so that no attribute becomes a
/// label that has a meaning of its own.
pub(crate) fn label(key: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let mut name: String = key.chars().map(plain).collect();
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        name.insert_str(0, LABEL_PREFIX);
    } else if name.starts_with('_') {
        name.insert_str(0, "key");
    }
    name
}
