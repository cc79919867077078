# stands in for the official image of Redis
ARG NGINX
FROM ${NGINX}
RUN install -d -o redis -g redis /data
WORKDIR /data
VOLUME /data
