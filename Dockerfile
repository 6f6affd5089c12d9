# The program alone, on nothing: no shell, no package, no user that can log in. Build it with
#   docker build --build-arg RELEASE=$(git describe --tags --always) -t dtcgate .
# and run it with a read-only root, as compose.yaml does. Time zones are in the program.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG RELEASE=unknown
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.release=${RELEASE}" -o /out/dtcgate ./cmd/dtcgate
RUN mkdir -m 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/dtcgate /dtcgate
COPY --from=build --chown=65532:65532 /out/data /data
# SQLite and `backup verify` put what does not fit into memory into TMPDIR.
ENV DTCGATE_DATA=/data DTCGATE_LISTEN=0.0.0.0:8080 TMPDIR=/data
USER 65532:65532
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/dtcgate", "health"]
ENTRYPOINT ["/dtcgate"]
CMD ["serve"]
