# MindSeg on a base image that has CANN and Python (see scripts/install.sh, which checks both):
#   docker build -t maskrcnn:20.1.0 . --build-arg FROM_IMAGE_NAME=quay.io/ascend/cann:9.1.0-910b-ubuntu22.04-py3.11
# CANN 9.1.0 is the one that the custom operators in MindSpore 2.10's wheel are built for; a3 in place of 910b for A3.
# With --build-arg DEVICE=CPU any Debian or Ubuntu image with Python 3.10 to 3.12 does.
ARG FROM_IMAGE_NAME
FROM ${FROM_IMAGE_NAME}
ARG DEVICE=Ascend
COPY requirements.txt /opt/mindseg/
COPY requirements/ /opt/mindseg/requirements/
COPY scripts/common.sh scripts/install.sh /opt/mindseg/scripts/
RUN bash /opt/mindseg/scripts/install.sh --prefix=/opt/mindseg-env --device=${DEVICE} --cpp \
    requirements.txt requirements/export.txt
ENV VIRTUAL_ENV=/opt/mindseg-env PATH=/opt/mindseg-env/bin:${PATH}
COPY . /opt/mindseg
WORKDIR /opt/mindseg
