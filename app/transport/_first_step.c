/* first_step of tasks.py, for those who have a compiler: without an exception at the end. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

/* Send None to the coroutine; return what it waits for, or `ended`: a new reference. */
static PyObject *
step(PyObject *context, PyObject *coroutine, PyObject *ended)
{
    PyObject *result = NULL;
    PySendResult status;

    if (PyContext_Enter(context) < 0)
        return NULL;
    status = PyIter_Send(coroutine, Py_None, &result);
    if (PyContext_Exit(context) < 0)
        Py_CLEAR(result);
    if (status == PYGEN_RETURN && result != NULL) {
        Py_DECREF(result);
        return Py_NewRef(ended);
    }
    return result;
}

static PyObject *
first_step(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *tasks, *loop, *outer, *result, *type, *value, *traceback;
    int failed;

    (void)module;
    if (nargs != 6 || !PyDict_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "first_step takes six arguments, the second a dict");
        return NULL;
    }
    tasks = args[1];
    loop = args[2];
    outer = Py_XNewRef(PyDict_GetItemWithError(tasks, loop));
    if ((outer == NULL && PyErr_Occurred()) || PyDict_SetItem(tasks, loop, args[3]) < 0) {
        Py_XDECREF(outer);
        return NULL;
    }
    result = step(args[4], args[5], args[0]);
    PyErr_Fetch(&type, &value, &traceback);
    failed = outer == NULL ? PyDict_DelItem(tasks, loop) : PyDict_SetItem(tasks, loop, outer);
    Py_XDECREF(outer);
    if (failed) {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
        Py_CLEAR(result);
        return NULL;
    }
    PyErr_Restore(type, value, traceback);
    return result;
}

static PyMethodDef methods[] = {
    {"first_step", (PyCFunction)(void (*)(void))first_step, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_first_step",
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__first_step(void)
{
    return PyModuleDef_Init(&definition);
}
