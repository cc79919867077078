/* plain_event of plain.py, for those who have a compiler: it says the same in a tenth of the time. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define HEAD 6       /* bytes in front of a short frame's payload: two, and the mask (RFC 6455, 5.2) */
#define LONGEST 125  /* bytes of payload whose number the second byte can hold */
#define DIGITS 15    /* of an ack id, which is below 2**53 */

/* Return (ack id or None, text from `start` on), a new reference. */
static PyObject *
pack(const char *payload, Py_ssize_t size, Py_ssize_t start, long long id)
{
    PyObject *event = PyTuple_New(2);
    PyObject *first = start == 2 ? Py_NewRef(Py_None) : PyLong_FromLongLong(id);
    PyObject *second = PyUnicode_FromStringAndSize(payload + start, size - start);

    if (event == NULL || first == NULL || second == NULL) {
        Py_XDECREF(event);
        Py_XDECREF(first);
        Py_XDECREF(second);
        return NULL;
    }
    PyTuple_SET_ITEM(event, 0, first);
    PyTuple_SET_ITEM(event, 1, second);
    return event;
}

static PyObject *
parse(const unsigned char *read, Py_ssize_t size, Py_ssize_t longest)
{
    char payload[LONGEST];
    unsigned char seen = 0;
    long long id = 0;
    Py_ssize_t at, start = 2;

    size -= HEAD;
    if (size < 3 || size > LONGEST || size > longest || read[0] != 0x81 || read[1] != (0x80 | size))
        Py_RETURN_NONE;
    for (at = 0; at < size; at++) {
        unsigned char byte = read[HEAD + at] ^ read[2 + (at & 3)];
        payload[at] = (char)byte;
        seen |= byte;
    }
    if (seen > 0x7f || payload[0] != '4' || payload[1] != '2')
        Py_RETURN_NONE;
    while (start < size && payload[start] >= '0' && payload[start] <= '9') {
        if (start == 2 + DIGITS)
            Py_RETURN_NONE;
        id = id * 10 + (payload[start++] - '0');
    }
    if (start == size || payload[start] != '[')
        Py_RETURN_NONE;
    return pack(payload, size, start, id);
}

static PyObject *
plain_event(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    Py_buffer buffer;
    Py_ssize_t size, longest;
    PyObject *event = NULL;

    (void)module;
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "plain_event takes a buffer and two sizes");
        return NULL;
    }
    size = PyLong_AsSsize_t(args[1]);
    longest = PyLong_AsSsize_t(args[2]);
    if (PyErr_Occurred() || PyObject_GetBuffer(args[0], &buffer, PyBUF_SIMPLE) < 0)
        return NULL;
    if (size > buffer.len)
        PyErr_SetString(PyExc_ValueError, "there is less in the buffer");
    else
        event = parse(buffer.buf, size, longest);
    PyBuffer_Release(&buffer);
    return event;
}

static PyMethodDef methods[] = {
    {"plain_event", (PyCFunction)(void (*)(void))plain_event, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_plain",
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__plain(void)
{
    return PyModuleDef_Init(&definition);
}
