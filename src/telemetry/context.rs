//! What log lines and spans say of the request that they concern: its id, and its
//! place in a trace by W3C Trace Context.

use std::fmt;
use std::sync::Arc;

use opentelemetry::trace::{SpanId, TraceFlags, TraceId};
use tracing::field::{DisplayValue, display};

/// Requests of a joined call that a log line names; the others are counted.
const NAMED: usize = 16;

/// The name of a request, and the trace that it belongs to.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// The caller's id for the request, or one that was made for it.
    pub id: Arc<str>,
    /// Where it stands in its trace, if it belongs to one.
    pub trace: Option<Traceparent>,
}

impl RequestContext {
    /// Of a request that belongs to no trace.
    pub fn untraced(id: &str) -> Self {
        Self { id: id.into(), trace: None }
    }

    /// Value of the field `trace.id`.
    pub fn trace_id(&self) -> Option<DisplayValue<TraceId>> {
        self.trace.map(|trace| display(trace.trace))
    }

    /// Value of the field `traceparent`.
    pub fn traceparent(&self) -> Option<DisplayValue<Traceparent>> {
        self.trace.map(display)
    }
}

/// The requests of one joined call, as a log line names them: the ids, and the traces
/// of those that have one. No more are named than a line can well hold.
pub fn names<'a>(requests: impl IntoIterator<Item = &'a RequestContext>) -> (String, Option<String>) {
    let (ids, traces): (Vec<_>, Vec<_>) = requests.into_iter().map(|request| (&*request.id, request.trace)).unzip();
    let left_out = ids.len().saturating_sub(NAMED);
    let mut named = ids[..ids.len() - left_out].join(" ");
    if left_out > 0 {
        named.push_str(&format!(" and {left_out} more"));
    }
    let traces: Vec<String> = traces.iter().take(NAMED).flatten().map(|trace| trace.trace.to_string()).collect();
    (named, (!traces.is_empty()).then(|| traces.join(" ")))
}

/// A `traceparent`: the trace, a span in it, and whether it is sampled.
/// <https://www.w3.org/TR/trace-context/#traceparent-header>
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) flags: TraceFlags,
}

impl Traceparent {
    /// Reads `version-traceid-parentid-flags` in lower-case hexadecimal of 2, 32, 16
    /// and 2 digits, where version `ff` and ids of zeros are invalid and versions above
    /// `00` may carry more fields.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split('-');
        let (version, trace, span, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let hexadecimal = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let well_formed = hexadecimal(version, 2)
            && version != "ff"
            && hexadecimal(trace, 32)
            && hexadecimal(span, 16)
            && hexadecimal(flags, 2)
            && (version != "00" || fields.next().is_none());
        if !well_formed {
            return None;
        }
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        (trace != TraceId::INVALID && span != SpanId::INVALID).then_some(Self { trace, span, flags })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags.to_u8())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    #[test]
    fn a_valid_traceparent_is_read_and_written() {
        for good in [format!("00-{TRACE}-00f067aa0ba902b7-01"), format!("00-{TRACE}-00f067aa0ba902b7-00")] {
            let parsed = Traceparent::parse(&good).expect("valid");
            assert_eq!(parsed.to_string(), good);
            let context = RequestContext { id: "r".into(), trace: Some(parsed) };
            assert_eq!(context.trace_id().expect("a trace").to_string(), TRACE);
        }
        let later = Traceparent::parse(&format!("01-{TRACE}-00f067aa0ba902b7-ff-more")).expect("a later version");
        assert_eq!(later.to_string(), format!("00-{TRACE}-00f067aa0ba902b7-01"));
    }

    #[test]
    fn all_else_is_none() {
        for bad in [
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7-+1"),
            "00-1-2-3".to_owned(),
            String::new(),
        ] {
            assert_eq!(Traceparent::parse(&bad), None, "for '{bad}'");
        }
    }

    #[test]
    fn the_members_of_a_joined_call_are_named_up_to_a_bound() {
        let traced =
            RequestContext { id: "a".into(), trace: Traceparent::parse(&format!("00-{TRACE}-00f067aa0ba902b7-01")) };
        let few = [traced, RequestContext::untraced("b")];
        assert_eq!(names(&few), ("a b".to_owned(), Some(TRACE.to_owned())));
        let many: Vec<RequestContext> = (0..40).map(|number| RequestContext::untraced(&number.to_string())).collect();
        let (ids, traces) = names(&many);
        assert!(ids.starts_with("0 1 2 ") && ids.ends_with(" 15 and 24 more"), "{ids}");
        assert_eq!(traces, None);
    }
}
