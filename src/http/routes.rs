//! The one table of the callers' routes: path, method, the scope it needs, and
//! its handler. The application and the test of the table are built from it.
//! Nothing on this listener is open: without a valid token, any path is 401.

use actix_web::dev::Handler;
use actix_web::guard;
use actix_web::http::Method;
use actix_web::{HttpRequest, HttpResponse, web};
use futures_util::future::LocalBoxFuture;

use super::doors::native;
use super::layers::{self, Exchange};
use super::reply_body::ReplyBody;
use super::respond::Failure;
use super::{models, reload};

/// Answers a request that passed the layers.
pub(crate) type Answer = for<'a> fn(&'a mut Exchange) -> LocalBoxFuture<'a, Result<HttpResponse, Failure>>;

/// The scope that an operation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// `score:<model>` for the `{name}` of the path.
    ScoreModelInPath,
    /// `models:read`
    ModelsRead,
    /// `models:write`
    ModelsWrite,
}

/// A path and what can be done with it.
pub(crate) struct Resource {
    pub(crate) path: &'static str,
    /// The methods, as in an `Allow` header.
    pub(crate) allow: &'static str,
    pub(crate) operations: &'static [Operation],
}

/// A method of a path.
pub(crate) struct Operation {
    /// GET stands for HEAD too.
    pub(crate) method: Method,
    pub(crate) needs: Needs,
    /// Label of the metrics.
    pub(crate) door: &'static str,
    pub(crate) handler: Answer,
}

/// Where a request was routed.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// To an entry of the table.
    Operation(&'static Operation),
    /// To a path of the table without this method.
    MethodNotAllowed {
        /// The methods that it has.
        allowed: &'static str,
    },
    /// Nowhere.
    NotFound,
}

/// All routes.
pub(crate) static RESOURCES: [Resource; 7] = [
    Resource { path: "/models", allow: "GET, HEAD", operations: &[read(|exchange| Box::pin(models::list(exchange)))] },
    Resource {
        path: "/models/{name}",
        allow: "GET, HEAD",
        operations: &[read(|exchange| Box::pin(models::details(exchange)))],
    },
    Resource {
        path: "/models/{name}/versions/{version}",
        allow: "GET, HEAD",
        operations: &[read(|exchange| Box::pin(models::details(exchange)))],
    },
    Resource { path: "/models/{name}/predict", allow: "POST", operations: &[PREDICT] },
    Resource { path: "/models/{name}/versions/{version}/predict", allow: "POST", operations: &[PREDICT] },
    Resource { path: "/models/{name}/reload", allow: "POST", operations: &[RELOAD] },
    Resource { path: "/models/{name}/versions/{version}/reload", allow: "POST", operations: &[RELOAD] },
];

const PREDICT: Operation = Operation {
    method: Method::POST,
    needs: Needs::ScoreModelInPath,
    door: native::DOOR,
    handler: |exchange| Box::pin(native::predict(exchange)),
};

const RELOAD: Operation = Operation {
    method: Method::POST,
    needs: Needs::ModelsWrite,
    door: native::DOOR,
    handler: |exchange| Box::pin(reload::reload(exchange)),
};

const fn read(handler: Answer) -> Operation {
    Operation { method: Method::GET, needs: Needs::ModelsRead, door: native::DOOR, handler }
}

impl Resource {
    fn scores(&self) -> bool {
        self.operations.iter().any(|operation| operation.needs == Needs::ScoreModelInPath)
    }
}

impl Operation {
    fn answers(&self, method: &Method) -> bool {
        *method == self.method || (self.method == Method::GET && *method == Method::HEAD)
    }
}

impl Target {
    /// Label of the metrics.
    pub(crate) fn door(self) -> &'static str {
        match self {
            Self::Operation(operation) => operation.door,
            Self::MethodNotAllowed { .. } | Self::NotFound => "none",
        }
    }
}

/// Registers the table and its fallbacks.
pub(crate) fn configure(app: &mut web::ServiceConfig) {
    // The router tries one path after the other: what is asked most comes first.
    let (scoring, others): (Vec<_>, Vec<_>) = RESOURCES.iter().partition(|resource| resource.scores());
    for resource in scoring.into_iter().chain(others) {
        let mut service = web::resource(resource.path);
        for operation in resource.operations {
            let matches = guard::fn_guard(move |context| operation.answers(&context.head().method));
            service = service.route(web::route().guard(matches).to(to(Target::Operation(operation))));
        }
        let otherwise = Target::MethodNotAllowed { allowed: resource.allow };
        app.service(service.default_service(web::route().to(to(otherwise))));
    }
    app.default_service(web::route().to(to(Target::NotFound)));
}

/// A handler that sends a request through the layers to `target`.
fn to(target: Target) -> impl Handler<(HttpRequest, web::Payload), Output = HttpResponse<ReplyBody>> {
    move |request: HttpRequest, payload: web::Payload| layers::answer(request, payload.into_inner(), target)
}
