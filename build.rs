//! Lets the binary find libR at run time where R lies outside the loader's path.

#[expect(clippy::disallowed_methods, reason = "Cargo talks to build scripts through the environment")]
fn main() {
    // extendr-ffi (`links = "R"`) publishes the R_HOME that it linked against.
    if let Ok(r_home) = std::env::var("DEP_R_R_HOME") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{r_home}/lib");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
