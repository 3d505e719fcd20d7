//! Parameters of the Prometheus API: from the query string and, for POST, the form body alike.
//!
//! Source: Prometheus' HTTP API (times are RFC 3339 or Unix seconds, steps are durations or seconds).

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use model::Timestamp;
use series::Matcher;
use stdx::HumanDuration;

use crate::error::ApiError;

/// Most selectors of one request: each is a search through all series.
const SELECTORS_MAX: usize = 100;

/// All parameters of one request in the order they came, the query string first.
#[derive(Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        let query = request.uri().query().unwrap_or_default().to_owned();
        pairs.extend(form_urlencoded::parse(query.as_bytes()).into_owned());
        let is_form = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        if request.method() == Method::POST && is_form {
            let body = Bytes::from_request(request, state)
                .await
                .map_err(|error| ApiError::bad_data(error.body_text()))?;
            pairs.extend(form_urlencoded::parse(&body).into_owned());
        }
        Ok(Self(pairs))
    }
}

impl Params {
    /// The first value of a parameter, if it has one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(key, _)| key == name);
        first
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &'static str) -> Result<&str, ApiError> {
        self.get(name)
            .ok_or_else(|| ApiError::bad_data(format!("parameter \"{name}\" is missing")))
    }

    /// A moment, if given.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
        self.get(name).map(|text| time(name, text)).transpose()
    }

    /// A span, if given.
    pub(crate) fn span(&self, name: &'static str) -> Result<Option<Duration>, ApiError> {
        self.get(name).map(|text| span(name, text)).transpose()
    }

    /// The largest number of results; `None` and 0 are no limit.
    pub(crate) fn limit(&self) -> Result<Option<usize>, ApiError> {
        let Some(text) = self.get("limit") else {
            return Ok(None);
        };
        let limit: usize = text.parse().map_err(|_| {
            ApiError::bad_data(format!(
                "parameter \"limit\" is no whole number: \"{text}\""
            ))
        })?;
        Ok((limit > 0).then_some(limit))
    }

    /// The selectors of `match[]`, each as its matchers.
    pub(crate) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, ApiError> {
        let asked = self.all("match[]").count();
        if asked > SELECTORS_MAX {
            return Err(ApiError::bad_data(format!(
                "{asked} parameters \"match[]\", at most {SELECTORS_MAX} are taken: join some with =~"
            )));
        }
        let mut selectors = Vec::new();
        for text in self.all("match[]") {
            let expr = promql::parse(text).map_err(|error| ApiError::parse(&error))?;
            let found = expr.selectors();
            let is_selector = expr.kind() == promql::ValueKind::Vector && found.len() == 1;
            if !is_selector || text.contains('(') {
                return Err(ApiError::bad_data(format!(
                    "parameter \"match[]\" takes a series selector, not \"{text}\""
                )));
            }
            selectors.extend(found);
        }
        Ok(selectors)
    }
}

fn time(name: &str, text: &str) -> Result<Timestamp, ApiError> {
    if let Ok(seconds) = text.parse::<f64>() {
        let millis = (seconds * 1_000.0).round();
        // The range Prometheus takes: what a 64-bit number of milliseconds holds with room to add.
        if millis.abs() < 9e15 {
            #[expect(clippy::cast_possible_truncation, reason = "the range was checked")]
            return Ok(Timestamp::from_millis(millis as i64));
        }
    } else if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::from_millis(moment.as_millisecond()));
    }
    Err(ApiError::bad_data(format!(
        "invalid parameter \"{name}\": cannot parse \"{text}\" to a valid timestamp"
    )))
}

fn span(name: &str, text: &str) -> Result<Duration, ApiError> {
    let parsed = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && (0.0..9e12).contains(&seconds) => {
            Some(Duration::from_secs_f64(seconds))
        }
        Ok(_) => None,
        Err(_) => text.parse::<HumanDuration>().ok().map(HumanDuration::get),
    };
    parsed.ok_or_else(|| {
        ApiError::bad_data(format!(
            "invalid parameter \"{name}\": cannot parse \"{text}\" to a valid duration"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_unix_seconds_or_rfc_3339() {
        assert_eq!(
            time("t", "1435781430.781").unwrap().millis(),
            1_435_781_430_781
        );
        assert_eq!(
            time("t", "2015-07-01T20:10:30.781Z").unwrap().millis(),
            1_435_781_430_781
        );
        assert_eq!(time("t", "-1").unwrap().millis(), -1_000);
        for wrong in ["", "yesterday", "NaN", "inf", "1e300", "2015-07-01"] {
            assert!(time("t", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn steps_are_durations_or_seconds() {
        assert_eq!(span("s", "15s").unwrap(), Duration::from_secs(15));
        assert_eq!(span("s", "0.5").unwrap(), Duration::from_millis(500));
        for wrong in ["", "-1", "NaN", "1e300", "soon"] {
            assert!(span("s", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn selectors_are_not_without_number() {
        let of = |count: usize| {
            let one = ("match[]".to_owned(), "up".to_owned());
            Params(vec![one; count]).selectors()
        };
        assert_eq!(of(SELECTORS_MAX).unwrap().len(), SELECTORS_MAX);
        assert!(of(SELECTORS_MAX + 1).is_err());
    }
}
