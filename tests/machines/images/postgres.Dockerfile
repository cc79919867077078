# stands in for the official image of PostgreSQL
ARG NGINX
FROM ${NGINX}
ENV PGDATA=/var/lib/postgresql/data
RUN install -d -o postgres -g postgres -m 1777 $PGDATA \
    && install -d -o postgres -g postgres -m 3777 /run/postgresql \
    && ln -s /usr/lib/postgresql/*/bin/* /usr/local/bin/
COPY postgres.sh /usr/local/bin/postgres.sh
VOLUME /var/lib/postgresql/data
ENTRYPOINT ["bash", "/usr/local/bin/postgres.sh"]
STOPSIGNAL SIGINT
