//! What is answered where nothing is: at addresses without a route, and to methods that a route does not take.
//!
//! Senders write the text into their logs, so it says what is taken instead. A gRPC call is answered as one: from an HTTP status,
//! a client makes a code of its own and drops the text.

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tonic::Status;

use crate::otlp::EXPORT;

/// There is no route.
pub(crate) async fn address(request: Request) -> Response {
    let path = request.uri().path();
    if is_grpc(request.headers()) {
        let text = format!("there is no {path}; OTLP metrics go to {EXPORT}");
        return Status::unimplemented(text).into_http();
    }
    let instead = match path {
        "/v1/logs" | "/v1/traces" | "/v1development/profiles" => {
            ": of OTLP, metrics are taken (POST /v1/metrics); turn the other exporters off"
        }
        _ => "",
    };
    let text = format!("there is nothing at {path}{instead}\n");
    (StatusCode::NOT_FOUND, text).into_response()
}

/// There is one, for other methods; the router adds which.
pub(crate) async fn method(request: Request) -> Response {
    let (method, path) = (request.method(), request.uri().path());
    let text = format!("{path} does not take {method}: the header Allow says what it takes\n");
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}

/// Whether a request is a gRPC call.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::post;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: &str, path: &str, kind: &str) -> (Response<()>, String) {
        let router: Router = Router::new()
            .route("/v1/metrics", post(async || ()))
            .fallback(address)
            .method_not_allowed_fallback(super::method);
        let request = Request::builder().method(method).uri(path);
        let request = request.header(header::CONTENT_TYPE, kind);
        let answer = router
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (head, body) = answer.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        (
            Response::from_parts(head, ()),
            String::from_utf8(text.to_vec()).unwrap(),
        )
    }

    #[tokio::test]
    async fn the_answer_says_what_is_taken_instead() {
        let (answer, text) = ask("POST", "/v1/logs", "application/x-protobuf").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert!(text.contains("POST /v1/metrics"), "{text}");

        let (answer, text) = ask("GET", "/v1/metrics", "text/plain").await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[header::ALLOW], "POST");
        assert!(text.contains("does not take GET"), "{text}");

        let (answer, text) = ask("GET", "/nowhere", "text/plain").await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(text, "there is nothing at /nowhere\n");
    }

    #[tokio::test]
    async fn a_call_of_another_service_is_answered_as_a_call() {
        let logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
        let (answer, _) = ask("POST", logs, "application/grpc+proto").await;
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["grpc-status"], "12");
        let told = answer.headers()["grpc-message"].to_str().unwrap();
        assert!(told.contains("MetricsService"), "{told}");
    }
}
