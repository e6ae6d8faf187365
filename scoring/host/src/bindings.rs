//! The host's side of `scoring/wit`, generated. Nothing outside this crate sees these types.

wasmtime::component::bindgen!({
    path: "../wit",
    world: "scorer",
    ownership: Borrowing { duplicate_if_necessary: true },
    imports: { default: trappable },
});
